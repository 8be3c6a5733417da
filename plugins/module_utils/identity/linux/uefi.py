# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What UEFI starts from a disk: the loader at the fallback path, and the entry in the firmware of this machine.

Sources: UEFI specification, "Removable media boot behavior" and "Boot manager"; efibootmgr(8).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import Partition, partitions, read_table

FIRMWARE = Path("/sys/firmware/efi")
# Of our entries; and of the one that starts a disk once and is in no boot order.
LABEL = "reimage "
ONCE = "reimage.lab"
_ESP = ("C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "EF")
_ARCHITECTURES = ("x64", "aa64", "ia32")
# Folders whose loaders are no Linux's own.
_NOT_LINUX = ("boot", "microsoft")
_ENTRY = re.compile(
    r"^Boot([0-9A-F]{4})[* ] ([^\t\n]*)\t.*?HD\(\d+,GPT,([0-9a-f-]{36}),[^()]*\)(\S*)", re.MULTILINE | re.IGNORECASE
)


@dataclass
class Started:
    """What was done, or would be: files on the ESP and labels of entries, and what a person should know."""

    fallback: list[str] = field(default_factory=list)
    entries_added: list[str] = field(default_factory=list)
    entries_removed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.fallback or self.entries_added or self.entries_removed)


@dataclass(frozen=True)
class _Entry:
    """An entry of the firmware that starts a file from a partition of a GPT."""

    number: str
    label: str
    uuid: str
    path: str


@dataclass(frozen=True)
class _Firmware:
    """What efibootmgr says: the entry that this machine was started by, the order, and the entries for GPTs."""

    current: str
    order: list[str]
    entries: list[_Entry]


def ensure_start(disk: str, *, boot_entry: bool = True, dry_run: bool = False) -> Started:
    """Have UEFI find the Linux of a disk, if the disk has an EFI system partition.

    :param disk: A block device; or a raw disk file, for which this machine's firmware gets no entry.
    :param dry_run: Only say what would be done.
    """
    started = Started()
    table = read_table(disk)
    if not any(_is_esp(partition) for partition in table):
        return started
    with partitions(disk, ("vfat",), read_only=dry_run) as found:
        esp = next(partition for partition in found if _is_esp(partition))
        with esp.mounted("ro" if dry_run else "rw", "vfat") as folder:
            started.fallback = ensure_fallback(folder, dry_run=dry_run)
            loader = _loader(folder, firmware_architecture()) or _at_fallback(folder)
    if not loader:
        started.warnings.append(f"{esp}: this EFI system partition has no loader that is known")
    elif boot_entry and esp.uuid and Path(disk).is_block_device() and _has_entries():
        try:
            _ensure_entry(disk, esp, loader, [one.uuid for one in table], started, dry_run=dry_run)
        except CommandError as error:
            # There is firmware that is full, or takes none; most of it finds the fallback path.
            started.warnings.append(f"the firmware could not be given an entry for {disk}: {error}")
    return started


def start_once(disk: str, *, dry_run: bool = False) -> bool:
    """Have this machine's firmware start a disk's fallback loader at its next start, and then go on as before.

    :returns: Whether there is UEFI, and an EFI system partition that it can start.
    :raises IdentityError: The firmware takes no entry.
    """
    esp = next((partition for partition in read_table(disk) if partition.type.upper() in _ESP and partition.uuid), None)
    if esp is None or not _has_entries():
        return False
    if not dry_run:
        for number in _numbers(_read_firmware(), ONCE):
            run(["efibootmgr", "--bootnum", number, "--delete-bootnum"])
        loader = f"\\EFI\\BOOT\\BOOT{firmware_architecture().upper()}.EFI"
        target = ["--disk", disk, "--part", str(esp.number), "--label", ONCE, "--loader", loader]
        run(["efibootmgr", "--create-only", *target])
        made = _numbers(_read_firmware(), ONCE)
        if not made:
            raise IdentityError(f"the firmware took no entry for {disk}")
        run(["efibootmgr", "--bootnext", made[0]])
    return True


def ensure_fallback(folder: Path, *, dry_run: bool = False) -> list[str]:
    """Have a loader at the path that UEFI tries when it has no entry, for each architecture that has a loader.

    :param folder: An EFI system partition.
    :returns: The files that were missing.
    """
    missing = []
    for architecture in _ARCHITECTURES:
        target = f"EFI/BOOT/BOOT{architecture.upper()}.EFI"
        loader = _loader(folder, architecture)
        if not loader or (folder / target).exists():
            continue
        copies = [(loader, target)]
        grub = Path(loader).with_name(f"grub{architecture}.efi")
        if Path(loader).name.startswith("shim") and (folder / grub).exists():
            # shim starts what lies beside it. First, so that the fallback is complete when it appears.
            copies.insert(0, (str(grub), f"EFI/BOOT/{grub.name}"))
        for source, name in copies:
            if not dry_run:
                _copy(folder / source, folder / name)
            missing.append(name)
    return missing


def firmware_architecture() -> str:
    """Return UEFI's name for what this machine's firmware runs."""
    size = FIRMWARE / "fw_platform_size"
    if size.exists() and size.read_text(encoding="ascii").strip() == "32":
        return "ia32"
    return "aa64" if platform.machine() == "aarch64" else "x64"


def _loader(folder: Path, architecture: str) -> str:
    """Return a Linux's loader below an ESP, shim where there is one, or nothing."""
    vendors = sorted(item.name for item in (folder / "EFI").glob("*") if item.name.lower() not in _NOT_LINUX)
    for name in (f"shim{architecture}.efi", f"grub{architecture}.efi"):
        for vendor in vendors:
            if (folder / "EFI" / vendor / name).is_file():
                return f"EFI/{vendor}/{name}"
    return ""


def _at_fallback(folder: Path) -> str:
    names = [f"EFI/BOOT/BOOT{architecture.upper()}.EFI" for architecture in (firmware_architecture(), *_ARCHITECTURES)]
    return next((name for name in names if (folder / name).is_file()), "")


def _is_esp(partition: Partition) -> bool:
    return partition.type.upper() in _ESP and partition.tags.get("TYPE") == "vfat"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name("reimage.tmp")
    with source.open("rb") as old, temporary.open("wb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
    temporary.replace(target)


def _has_entries() -> bool:
    """Return whether the firmware of this machine can be asked for entries: without, the fallback path must do."""
    return (FIRMWARE / "efivars").exists() and shutil.which("efibootmgr") is not None


def _ensure_entry(disk: str, esp: Partition, loader: str, own: Sequence[str], started: Started, *, dry_run: bool) -> None:
    """Have one entry for the loader in the boot order, and none of ours for partitions that are gone."""
    firmware = _read_firmware()
    there = {uuid.lower() for uuid in [*own, *run(["lsblk", "--noheadings", "--output", "PARTUUID"]).stdout.decode().split()]}
    for entry in firmware.entries:
        if entry.label.startswith(LABEL) and entry.uuid not in there:
            started.entries_removed.append(entry.label)
            if not dry_run:
                run(["efibootmgr", "--bootnum", entry.number, "--delete-bootnum"])
    for entry in firmware.entries:
        if entry.uuid == esp.uuid.lower() and entry.number in firmware.order and "\\microsoft\\" not in entry.path.lower():
            return
    vendor = Path(loader).parent.name
    label = LABEL + (vendor if vendor.lower() not in _NOT_LINUX else "Linux")
    started.entries_added.append(label)
    if not dry_run:
        target = ["--disk", disk, "--part", str(esp.number), "--label", label, "--loader", "\\" + loader.replace("/", "\\")]
        if not _numbers(firmware, label, esp.uuid):
            run(["efibootmgr", "--create-only", *target])
        _put_in_order(label, esp)


def _put_in_order(label: str, esp: Partition) -> None:
    """Have an entry tried after the one that this machine was started by.

    efibootmgr's own C(--create) puts it first, and a machine that starts its disk first does not start over the network any more.
    """
    firmware = _read_firmware()
    number = _numbers(firmware, label, esp.uuid)[-1]
    order = [one for one in firmware.order if one != number]
    order.insert(order.index(firmware.current) + 1 if firmware.current in order else 0, number)
    run(["efibootmgr", "--bootorder", ",".join(order)])


def _numbers(firmware: _Firmware, label: str, uuid: str = "") -> list[str]:
    """Return the numbers of the entries with a label, on one partition or on any."""
    return [entry.number for entry in firmware.entries if entry.label == label and uuid.lower() in ("", entry.uuid)]


def _read_firmware() -> _Firmware:
    said = run(["efibootmgr", "--verbose"]).stdout.decode(errors="replace")
    entries = [_Entry(number.upper(), label, uuid.lower(), path) for number, label, uuid, path in _ENTRY.findall(said)]
    current, order = (re.search(rf"^{name}: (\S+)", said, re.MULTILINE) for name in ("BootCurrent", "BootOrder"))
    return _Firmware(current[1].upper() if current else "", order[1].upper().split(",") if order else [], entries)
