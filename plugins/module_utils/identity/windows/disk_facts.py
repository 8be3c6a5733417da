# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a Windows that is not running will find its disk: where it looks, and what mends it.

A deploy keeps the identifiers of disk and partitions, so this is for disks that came about otherwise.

Sources: the BCD element as U(http://www.mistyprojects.co.uk/documents/BCDEdit/files/device_partition.htm) takes it apart (a
qualified partition: kind 6 at 0x10, partition at 0x20, style at 0x34, disk at 0x38); MountedDevices as Windows writes it.
"""

from __future__ import annotations

import json
import struct
import uuid
from dataclasses import dataclass, field

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import Partition, partitions
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import hive_log, hives
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.hives import Hive, control_set
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inspect import inspect
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import BINARY, DWORD, Change
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.registry import open_hive
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import (
    CONFIG,
    FILESYSTEMS,
    Volume,
    one_windows,
    read_file,
    write_file,
)

_BOOT_FILES = ("EFI/Microsoft/Boot/BCD", "Boot/BCD")
_BOOT_MANAGER = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}"
_DEVICE, _SYSTEM_DEVICE, _DEFAULT = "11000001", "21000001", "23000003"
_QUALIFIED_PARTITION = struct.pack("<IIII", 6, 0, 0x48, 0)  # what stands before the identifiers: the kind, flags, its size
_DISK, _IDENTIFIERS = 0x18, 0x28  # bytes: where the disk's begin behind the partition's, and the length of both
_SYSTEM = f"{CONFIG}/SYSTEM"
_DRIVE = r"\DosDevices\C:"
_STORAGE = ("stornvme", "storahci", "iaStorV", "iaStorVD", "iaStorAC")


@dataclass(frozen=True)
class Place:
    """A partition as Windows names it: a GUID each, or the disk's signature and the partition's first byte."""

    disk: bytes
    partition: bytes

    @property
    def drive(self) -> bytes:
        """Its name in MountedDevices."""
        return b"DMIO:ID:" + self.partition if len(self.disk) == 16 else self.disk + self.partition

    @property
    def identifiers(self) -> bytes:
        """Its name in the device elements of a boot configuration."""
        style = 0 if len(self.disk) == 16 else 1
        return self.partition.ljust(16, b"\0") + struct.pack("<II", 0, style) + self.disk.ljust(16, b"\0")

    def __str__(self) -> str:
        if len(self.disk) == 16:
            return f"partition {uuid.UUID(bytes_le=self.partition)} of disk {uuid.UUID(bytes_le=self.disk)}"
        return f"the partition at byte {struct.unpack('<Q', self.partition)[0]} of disk {self.disk[::-1].hex()}"


@dataclass
class Facts:
    """What stands in the way of finding the disk, in sentences for people; and what mends it: the file, the keys in it."""

    problems: list[str] = field(default_factory=list)
    mends: list[tuple[Partition, str, list[tuple[str, Change]]]] = field(default_factory=list)


def read(disk: str) -> Facts:
    """Return whether the Windows of a disk will find it.

    :param disk: A block device, or a raw disk file.
    :raises IdentityError: The disk does not hold exactly one Windows, or a hive is dirty or damaged.
    """
    with partitions(disk, FILESYSTEMS, read_only=True) as found:
        return _read(disk, found)


def mend(disk: str, *, dry_run: bool = False) -> list[str]:
    """Have the Windows of a disk look for it where it is, and return the files that were, or would be, changed."""
    with partitions(disk, FILESYSTEMS, read_only=dry_run) as found:
        facts = _read(disk, found)
        new = [(partition, file, _changed(partition, file, changes)) for partition, file, changes in facts.mends]
        for partition, file, data in [] if dry_run else new:
            write_file(partition, file, data)
        return [file for _partition, file, _changes in facts.mends]


def _read(disk: str, found: list[Partition]) -> Facts:
    facts = Facts()
    places = _places(disk)
    windows = one_windows(disk, found)
    with windows.mounted("ro", "ntfs-3g") as folder:
        flavour = _registry(facts, Volume(folder), places, windows)
    if flavour != "sysprep_inf":  # before Windows Vista it was boot.ini, which counts disks and partitions
        _boot(facts, found, places, windows)
    return facts


def _places(disk: str) -> dict[str, Place]:
    """Return how Windows names the partitions of a disk."""
    table = json.loads(run(["sfdisk", "--json", disk]).stdout)["partitiontable"]
    if table["label"] == "gpt":
        names = {part["node"]: uuid.UUID(part["uuid"]).bytes_le for part in table["partitions"]}
        return {node: Place(uuid.UUID(table["id"]).bytes_le, name) for node, name in names.items()}
    signature = struct.pack("<I", int(table["id"], 16))
    return {
        part["node"]: Place(signature, struct.pack("<Q", part["start"] * table["sectorsize"])) for part in table["partitions"]
    }


def _registry(facts: Facts, volume: Volume, places: dict[str, Place], windows: Partition) -> str:
    found = inspect(volume)
    system = open_hive(volume, _SYSTEM)
    changes = [*_drive(facts, system, places, windows), *_storage(facts, system, found.generalized)]
    if changes:
        facts.mends.append((windows, _SYSTEM, changes))
    return found.flavour


def _drive(facts: Facts, system: Hive, places: dict[str, Place], windows: Partition) -> list[tuple[str, Change]]:
    """Windows makes up its mind anew about a drive that it does not know; about C: it must not be wrong."""
    known = system.get("MountedDevices", _DRIVE)
    wanted = places[windows.name].drive
    if known is None or known[1] == wanted:
        return []
    facts.problems.append(f"MountedDevices: C: is not {windows}, {places[windows.name]}")
    if known[1] in [place.drive for place in places.values()]:
        return []  # somebody's choice on this very disk
    return [("MountedDevices", Change("", values={_DRIVE: (BINARY, wanted)}))]


def _storage(facts: Facts, system: Hive, generalized: bool) -> list[tuple[str, Change]]:
    """A generalized Windows looks for its hardware anew; another needs the drivers of this machine's disk at its start."""
    changes = []
    for service in () if generalized else _STORAGE:
        key = rf"{control_set(system)}\Services\{service}"
        start = system.number(key, "Start")
        if start is None:
            continue
        overrides = system.values(rf"{key}\StartOverride") or {}
        overridden = any(any(data) for _kind, data in overrides.values())
        if start:
            changes.append((key, Change("", values={"Start": (DWORD, bytes(4))})))
        if overridden:
            changes.append((rf"{key}\StartOverride", Change("", delete=True)))
        if start or overridden:
            facts.problems.append(f"the driver {service} does not start with Windows: a disk that needs it is not found")
    return changes


def _boot(facts: Facts, found: list[Partition], places: dict[str, Place], windows: Partition) -> None:
    """Look where the boot manager, and all that it can start, expect their partitions."""
    for partition, file in [(partition, file) for file in _BOOT_FILES for partition in found]:
        data = read_file(partition, file)
        if data is None:
            continue
        hive = Hive(data, file, logs=_logs(partition, file))
        changes = _elements(facts, hive, places[partition.name], places[windows.name], list(places.values()))
        if changes:
            facts.mends.append((partition, file, changes))
        return
    facts.problems.append("there is no boot configuration (BCD) on the disk")


def _changed(partition: Partition, file: str, changes: list[tuple[str, Change]]) -> bytes:
    return hives.changed(read_file(partition, file) or b"", file, changes, _logs(partition, file))


def _logs(partition: Partition, file: str) -> list[bytes]:
    """Return what the transaction logs of a hive hold."""
    return [log for log in (read_file(partition, file + ending) for ending in hive_log.ENDINGS) if log]


def _elements(facts: Facts, hive: Hive, boot: Place, windows: Place, places: list[Place]) -> list[tuple[str, Change]]:
    """Return what mends a boot configuration."""
    elements, expected = _devices(hive), _expected(hive, boot, windows)
    here = [place.identifiers for place in places]
    for key, wanted in expected.items():
        if any(old != wanted.identifiers for old in _named(elements.get(key, b""))):
            facts.problems.append(f"the boot configuration (BCD) does not name {wanted} in {key}")
    moved = _moved(elements, expected, places)
    changes = []
    for key, data in elements.items():
        after = data
        for old in [one for one in _named(data) if one not in here]:  # else somebody's choice on this very disk
            if old in moved:
                after = after.replace(_QUALIFIED_PARTITION + old, _QUALIFIED_PARTITION + moved[old].identifiers)
            if key not in expected:
                facts.problems.append(f"the boot configuration (BCD) names {_which(moved.get(old))} in {key}")
        if after != data:
            changes.append((key, Change("", values={"Element": (BINARY, after)})))
    return changes


def _moved(elements: dict[str, bytes], expected: dict[str, Place], places: list[Place]) -> dict[bytes, Place]:
    """Return the partitions that have other identifiers now, by their former ones.

    The boot manager and the Windows that it starts by default tell which identifiers the two partitions had. Whatever else names
    those, such as the resumption from hibernation, the memory test and the recovery environment, means the same partitions.
    """
    here = [place.identifiers for place in places]
    moved = {old: wanted for key, wanted in expected.items() for old in _named(elements.get(key, b"")) if old not in here}
    disks = {old[_DISK:] for old in moved}
    for old in {old for data in elements.values() for old in _named(data)} - moved.keys():
        same = [place for place in places if place.identifiers[:_DISK] == old[:_DISK]]
        if old[_DISK:] in disks and same:  # only the disk has another identifier
            moved[old] = same[0]
    return moved


def _which(mended: Place | None) -> str:
    if mended:
        return f"the former identifiers of {mended}"
    return "a partition that is not on this disk, and nothing tells which one it was (mend it with bcdedit)"


def _devices(hive: Hive) -> dict[str, bytes]:
    """Return the elements of all objects that name devices."""
    found = {}
    for name in hive.children("Objects"):
        elements = rf"Objects\{name}\Elements"
        for kind in hive.children(elements):
            value = hive.get(rf"{elements}\{kind}", "Element") if kind[1:2] == "1" else None
            if value:
                found[rf"{elements}\{kind}"] = value[1]
    return found


def _expected(hive: Hive, boot: Place, windows: Place) -> dict[str, Place]:
    """Return the elements of which is known what they should name."""
    found = [(_DEVICE, _BOOT_MANAGER, boot)]
    default = hive.text(rf"Objects\{_BOOT_MANAGER}\Elements\{_DEFAULT}", "Element")
    for name in [default] if default else []:
        found += [(_DEVICE, name, windows), (_SYSTEM_DEVICE, name, windows)]
    return {rf"Objects\{name}\Elements\{kind}": place for kind, name, place in found}


def _named(element: bytes) -> list[bytes]:
    """Return the identifiers of the partitions that an element names, also those on which a file or a RAM disk is."""
    pieces = element.split(_QUALIFIED_PARTITION)[1:]
    return [piece[:_IDENTIFIERS] for piece in pieces if len(piece) >= _IDENTIFIERS]
