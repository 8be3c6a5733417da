# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drivers for a Windows that is not running: what this machine needs, in C(C:\\Drivers)."""

from __future__ import annotations

import filecmp
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.hardware.dmi import Model
from ansible_collections.reimage.lab.plugins.module_utils.hardware.pci import PciDevice
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import packs
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inf import Target, parse
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inspect import inspect
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.packs import Pack
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import Volume

FOLDER = "Drivers"
# What we put there, so that we can take it away when the machine, or its pack, has become another.
RECORD = f"{FOLDER}/.reimage.json"
# Most of Windows's own INFs are for other buses, and need not be parsed.
_PCI = re.compile(rb"P\0?C\0?I\0?\\", re.IGNORECASE)


@dataclass(frozen=True)
class Match:
    """A device, and an INF that names it under the most specific identifier of all, relative to the pack."""

    device: PciDevice
    name: str
    inf: str


@dataclass
class Installed:
    """What was, or would be, done. I(folders) are relative to the I(pack), and that to all packs; I(copied) and I(removed)
    are below C(C:\\Drivers); I(before) and I(after) show those to a person. I(files) and I(size), in bytes, are of all that the
    machine needs."""

    pack: str = ""
    folders: list[str] = field(default_factory=list)
    files: int = 0
    size: int = 0
    copied: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    before: str = ""
    after: str = ""
    changed: bool = False
    matched: list[Match] = field(default_factory=list)
    unnamed: list[PciDevice] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def install(
    volume: Volume,
    shelf: Path,
    model: Model,
    devices: Sequence[PciDevice],
    *,
    everything: bool = False,
    required: bool = False,
    dry_run: bool = False,
) -> Installed:
    """Have C(C:\\Drivers) hold the drivers that a machine needs, and no more those of ours that it does not.

    :param shelf: The folder with all packs.
    :param everything: Copy the whole pack.
    :param required: No pack for the machine is an error.
    :raises IdentityError: It cannot be done; nothing was written then, unless reading a pack or writing failed on the way.
    """
    target = Target.of(inspect(volume))
    folder = packs.choose(shelf, model)
    result = Installed()
    wanted: dict[str, Path] = {}
    if folder:
        pack = packs.read(folder, target)
        result.pack = folder.relative_to(shelf).as_posix()
        result.folders = [""] if everything else pack.needed(devices)
        result.warnings += pack.unreadable
        if not pack.infs:
            result.warnings.append(f"{folder} holds no INF: unpack the manufacturer's archives there")
        wanted = {name: folder / name for name in pack.below(result.folders)}
        result.matched = [match for match in (_match(device, pack) for device in devices) if match]
    elif required:
        raise IdentityError(f"packs {shelf}: there is no folder for this machine ({model})")
    else:
        result.warnings.append(f"packs {shelf}: there is no folder for this machine ({model}); no driver was copied")
    named = {match.device for match in result.matched}
    result.unnamed = _unnamed(volume, [device for device in devices if device not in named], target)
    _bring(volume, wanted, result, dry_run=dry_run)
    return result


def inf_folders(volume: Volume) -> list[str]:
    """Return the folders that hold an INF, as Windows XP wants them: below the root of the volume, with backslashes."""
    found = {path.parent for path in volume.files(FOLDER) if path.suffix.lower() == ".inf"}
    return [str(path.relative_to(volume.root)).replace("/", "\\") for path in sorted(found)]


def _match(device: PciDevice, pack: Pack) -> Match | None:
    """Return the INF that Windows would prefer by its identifiers; the first by name, of several."""
    ids = device.ids
    found = [(ids.index(name), inf, name) for inf, read in pack.infs.items() for name in [read.names(ids)] if name]
    return Match(device, min(found)[2], min(found)[1]) if found else None


def _unnamed(volume: Volume, devices: list[PciDevice], target: Target) -> list[PciDevice]:
    """Return the devices that no INF of Windows itself names."""
    for path in volume.files("Windows/INF"):
        if not devices:
            break
        if path.suffix.lower() != ".inf":
            continue
        try:
            data = path.read_bytes()
            inf = parse(data, str(path), target) if _PCI.search(data) else None
        except (IdentityError, OSError):
            continue  # what cannot be read names nothing
        devices = [device for device in devices if not (inf and inf.names(device.ids))]
    return devices


def _bring(volume: Volume, wanted: dict[str, Path], result: Installed, *, dry_run: bool) -> None:
    """Copy what is missing or differs, and remove what was ours and is wanted no more."""
    before = _recorded(volume)
    record = sorted(wanted)
    lower = {name.lower() for name in wanted}
    sizes = {name: source.stat().st_size for name, source in wanted.items()}
    result.files, result.size = len(sizes), sum(sizes.values())
    result.copied = [name for name, source in wanted.items() if not _same(source, volume.find(f"{FOLDER}/{name}"))]
    result.removed = [name for name in before if name.lower() not in lower and volume.find(f"{FOLDER}/{name}")]
    result.before = _listing(volume, [*result.removed, *result.copied])
    result.after = "".join(f"{FOLDER}/{name}, {sizes[name]} bytes, from {result.pack}\n" for name in result.copied)
    result.changed = bool(result.copied or result.removed or before != record)
    _check_space(volume, {name: sizes[name] for name in result.copied}, result.removed)
    if dry_run or not result.changed:
        return
    # First the names of all that may be there from now on: if this is interrupted, the next run knows what is ours.
    _write_record(volume, sorted({*before, *record}))
    for name in result.removed:
        volume.remove(f"{FOLDER}/{name}")
        _remove_empty(volume, Path(FOLDER, name).parent)
    for name in result.copied:
        volume.copy(wanted[name], f"{FOLDER}/{name}")
    _write_record(volume, record)


def _listing(volume: Volume, names: Sequence[str]) -> str:
    found = [(name, volume.find(f"{FOLDER}/{name}")) for name in sorted(names)]
    return "".join(f"{FOLDER}/{name}, {path.stat().st_size} bytes\n" for name, path in found if path)


def _same(source: Path, path: Path | None) -> bool:
    if path is None:
        return False
    if not path.is_file():
        raise IdentityError(f"{path}: this should be a file, as {source} is: remove it")
    return filecmp.cmp(source, path, shallow=False)


def _check_space(volume: Volume, sizes: dict[str, int], removed: Sequence[str]) -> None:
    """Raise C(IdentityError) if the volume has too little room for files of some sizes, in bytes."""
    stat = os.statvfs(volume.root)
    cluster = stat.f_frsize
    gone = [volume.find(f"{FOLDER}/{name}") for name in (*sizes, *removed)]
    free = stat.f_bavail * cluster + sum(path.stat().st_size // cluster * cluster for path in gone if path)
    # A cluster more for each file: its record, and its part of the folder's index.
    needed = sum((size // cluster + 2) * cluster for size in sizes.values())
    if needed > free:
        raise IdentityError(
            f"the drivers need {needed} bytes on the Windows volume, and {free} are free ({volume.root}): have fewer drivers in"
            " the pack, or grow the volume when you deploy"
        )


def _recorded(volume: Volume) -> list[str]:
    data = volume.read(RECORD)
    if data is None:
        return []
    try:
        names = json.loads(data)["files"]
        if not all(isinstance(name, str) for name in names):
            raise TypeError
    except (ValueError, TypeError, KeyError) as error:
        raise IdentityError(f"{volume.root}/{RECORD}: this is not our record of the drivers: remove it") from error
    return list(names)


def _write_record(volume: Volume, names: Sequence[str]) -> None:
    volume.write(RECORD, (json.dumps({"files": names}, indent=1) + "\n").encode("ascii"))


def _remove_empty(volume: Volume, folder: Path) -> None:
    """Remove a folder, and those above it, as far as they are empty and below C(C:\\Drivers)."""
    path = volume.find(str(folder))
    while path and path.parent != volume.root and not any(path.iterdir()):
        path.rmdir()
        path = path.parent
