# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders of drivers for models of machines, and what one machine needs of its own.

The layout is C(VENDOR/PRODUCT[/SKU]). Its names may hold shell wildcards, and C(_any) stands for what nothing else there is for.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.hardware.dmi import Model
from ansible_collections.reimage.lab.plugins.module_utils.hardware.pci import PciDevice
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inf import Inf, Target, parse

ANY = "_any"
_EXACT, _WILDCARD, _FALLBACK = 0, 1, 2
_LONGEST = 240  # characters; with C:\Drivers\ in front Windows takes 259
_NEVER_IN_A_NAME = re.compile(r'[\\/:*?"<>|\x00-\x1f]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_NOT_A_DRIVER = "autorun.inf"


@dataclass
class Pack:
    """What was read of a pack: its files, relative and sorted, and its INFs by their names; I(unreadable) has sentences."""

    folder: Path
    files: list[str]
    infs: dict[str, Inf] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def needed(self, devices: Sequence[PciDevice]) -> list[str]:
        """Return the folders, relative, that hold an INF for one of the devices, or one that may be for something else.

        What is not on PCI (USB, HID, ACPI, sound codecs, software components) often appears only with the driver of what it is
        connected to, so its drivers cannot be ruled out here.
        """
        found = {_parent(name) for name, inf in self.infs.items() if _may_be_needed(inf, devices)}
        return sorted(folder for folder in found if not any(_below(folder, other) for other in found - {folder}))

    def below(self, folders: Sequence[str]) -> list[str]:
        """Return the files in some folders and below them."""
        return [name for name in self.files if any(_below(_parent(name), folder) for folder in folders)]


def choose(packs: Path, model: Model) -> Path | None:
    """Return the most specific folder for a model, or None if there is none.

    At each level the same name wins over a wildcard, and that over C(_any). Names are compared as Windows would store them, in
    any case. What the machine says of itself is only ever compared.

    :raises IdentityError: Two folders fit equally well, or one leads out of I(packs).
    """
    if not packs.is_dir():
        raise IdentityError(f"packs {packs}: this is not a folder: mount the share with the drivers first")
    products = [
        ((*first, *second), product)
        for first, vendor in _level(packs, model.vendors)
        for second, product in _level(vendor, model.products)
    ]
    found = _one(products, model)
    found = _one(_level(found, model.skus), model) or found if found else None
    if found and packs.resolve() not in found.resolve().parents:
        raise IdentityError(f"{found}: this link leads out of {packs}")
    return found


def read(folder: Path, target: Target) -> Pack:
    """Read the files and the INFs of a pack. An INF that cannot be read is not an error: others may serve.

    :raises IdentityError: Windows could not have a file by its name, or something is a link.
    """
    pack = Pack(folder, _files(folder))
    for name in pack.files:
        if not name.lower().endswith(".inf") or Path(name).name.lower() == _NOT_A_DRIVER:
            continue
        try:
            pack.infs[name] = parse((folder / name).read_bytes(), str(folder / name), target)
        except IdentityError as error:
            pack.unreadable.append(f"{error}; it was skipped")
        except OSError as error:
            pack.unreadable.append(f"{folder / name}: {error.strerror}; it was skipped")
    return pack


def _may_be_needed(inf: Inf, devices: Sequence[PciDevice]) -> bool:
    other = any(not name.startswith("PCI\\") for name in inf.ids)
    return inf.plain or other or any(inf.names(device.ids) for device in devices)


def _level(folder: Path, names: Sequence[str]) -> list[tuple[tuple[int, int], Path]]:
    """Return the folders in a folder that fit one of some names, and how well; smaller is better."""
    wanted = [_stored(name) for name in names]
    found = []
    try:
        items = sorted(folder.iterdir())
    except OSError as error:
        _refuse(error)
    for item in items:
        pattern = item.name.lower().rstrip(". ")
        fitting = [(_EXACT, number) for number, name in enumerate(wanted) if name == pattern]
        fitting += [(_WILDCARD, number) for number, name in enumerate(wanted) if fnmatchcase(name, pattern)]
        fitting += [(_FALLBACK, 0)] if pattern == ANY else []
        if fitting and item.is_dir() and not item.name.startswith("."):
            found.append((min(fitting), item))
    return found


def _stored(name: str) -> str:
    """Return a name as a folder on a share of Windows can have it, in lower case: C(Dell Inc.) cannot keep its dot."""
    return re.sub(r"\s+", " ", _NEVER_IN_A_NAME.sub("_", name)).lower().rstrip(". ")


def _one(found: Sequence[tuple[tuple[int, ...], Path]], model: Model) -> Path | None:
    if not found:
        return None
    best = min(rank for rank, _folder in found)
    folders = [folder for rank, folder in found if rank == best]
    if len(folders) > 1:
        raise IdentityError(
            f"packs: {' and '.join(map(str, folders))} fit this machine ({model}) equally well: rename one of them"
        )
    return folders[0]


def _files(folder: Path) -> list[str]:
    """Return all files below a folder, relative and sorted, having checked that Windows can have them."""
    found: dict[str, str] = {}
    files: list[str] = []
    for place, folders, names in os.walk(folder, onerror=_refuse):
        for name in [*folders, *names]:
            path = Path(place, name)
            if path.is_symlink():
                raise IdentityError(f"{path}: this is a link, which is not followed within a pack: put the files there")
            if _NEVER_IN_A_NAME.search(name) or _RESERVED.fullmatch(name) or name != name.rstrip(". "):
                raise IdentityError(f"{path}: Windows cannot have a file of this name: rename it")
            relative = path.relative_to(folder).as_posix()
            if len(relative) > _LONGEST:
                raise IdentityError(
                    f"{path}: this path is too long for Windows: it has more than {_LONGEST} characters in the pack"
                )
            twin = found.setdefault(relative.lower(), relative)
            if twin != relative:
                raise IdentityError(f"{folder}: {twin} and {relative} differ in their case only, which Windows cannot have")
        files += [Path(place, name).relative_to(folder).as_posix() for name in names]
    return sorted(files)


def _refuse(error: OSError) -> NoReturn:
    raise IdentityError(f"{error.filename}: {error.strerror}") from error


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _below(folder: str, other: str) -> bool:
    """Return whether a folder is another, or below it; the pack itself is the empty name."""
    return not other or folder == other or folder.startswith(f"{other}/")
