# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disks of this machine, and the choice of the one that somebody means. When in doubt, none."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.lock import holders, locked
from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError

_COLUMNS = "PATH,TYPE,SIZE,MODEL,SERIAL,WWN,TRAN,RM,RO,MOUNTPOINTS"
_TEXTS = ("serial", "wwn", "model")
_SIZES = ("size_min", "size_max")
_STACKED = ("lvm", "crypt", "raid0", "raid1", "raid4", "raid5", "raid6", "raid10", "mpath", "dm")


@dataclass(frozen=True)
class Disk:
    """A whole disk; I(size) in bytes."""

    path: str
    size: int
    model: str
    serial: str
    wwn: str
    transport: str
    removable: bool

    def __str__(self) -> str:
        known = {"model": self.model, "serial": self.serial, "wwn": self.wwn}
        return ", ".join([f"{self.path} ({self.size} bytes", *(f"{key} {value}" for key, value in known.items() if value)]) + ")"


def disks() -> list[Disk]:
    """Return the disks of this machine, without loop devices, optical drives and RAM disks."""
    found = []
    for row in _lsblk([]):
        if row["type"] == "disk" and row["size"] and not row["path"].startswith(("/dev/zram", "/dev/ram", "/dev/fd")):
            model, serial, wwn, transport = (str(row[key] or "").strip() for key in ("model", "serial", "wwn", "tran"))
            found.append(Disk(row["path"], int(row["size"]), model, serial, wwn, transport, bool(row["rm"])))
    return found


def find_disk(wanted: str | Mapping[str, Any]) -> str:
    """Return the path of the one disk that a description means.

    :param wanted: A path to a block device or a raw disk file, or a mapping of C(serial), C(wwn), C(model), C(size_min)
        and C(size_max) (bytes). A mapping never means a removable or USB disk.
    :raises HardwareError: The description means no disk, or more than one.
    """
    if isinstance(wanted, str):
        return _check_path(wanted)
    unknown = set(wanted) - {*_TEXTS, *_SIZES}
    if unknown or not wanted:
        raise HardwareError(
            f"disk: {', '.join(sorted(unknown)) or 'an empty mapping'} does not describe a disk:"
            f" use {', '.join((*_TEXTS, *_SIZES))}, or a path"
        )
    for key in _SIZES:
        if key in wanted and not str(wanted[key]).strip().isdecimal():
            raise HardwareError(f"disk: {key}={wanted[key]}: say how many bytes, such as 500000000000")
    candidates = [disk for disk in disks() if not disk.removable and disk.transport != "usb"]
    matching = [disk for disk in candidates if _matches(disk, wanted)]
    if len(matching) == 1:
        return matching[0].path
    described = ", ".join(f"{key}={value}" for key, value in wanted.items())
    if matching:
        raise HardwareError(f"disk: {described} is ambiguous: {'; '.join(map(str, matching))}. Say more of the one that is meant")
    known = "; ".join(map(str, candidates)) or "no fixed disk at all"
    raise HardwareError(f"disk: {described} matches no disk. There is: {known}")


@contextmanager
def claimed(wanted: str | Mapping[str, Any], *, write: bool) -> Iterator[str]:
    """Find the one disk that is meant, and have nobody else work on it; yield its path.

    :param wanted: See C(find_disk).
    :param write: Whether it is to be changed. Those that only read may do so together.
    :raises HardwareError: No disk, or more than one, is meant, or it is in use.
    :raises DiskError: Somebody else is working on it; the message says who.
    """
    path = find_disk(wanted)
    with locked(path, exclusive=write):
        refuse_in_use(path)
        if write:
            _refuse_held(path)
        yield path


def refuse_in_use(path: str) -> None:
    """Raise C(HardwareError) if anything on a disk is mounted, is swap, or is part of LVM, RAID or dm-crypt."""
    for row in _users(path):
        mounted = [place for place in row["mountpoints"] if place]
        if mounted:
            raise HardwareError(f"{row['path']}, on {path}, is in use: mounted at {', '.join(mounted)}. Unmount it first")
        if row["type"] in _STACKED:
            raise HardwareError(f"{path} is in use: {row['path']} ({row['type']}) is made of it. Deactivate that first")


def _refuse_held(path: str) -> None:
    """Raise C(HardwareError) if anything on a disk is in use in a way that lsblk does not see.

    Such as mounted in another mount namespace, or open by a tool that an earlier run started and left behind when it was killed.
    """
    for row in _users(path):
        try:
            os.close(os.open(row["path"], os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise HardwareError(
                    f"{row['path']}, on {path}, is in use where it is not seen from here, such as a mount in a container."
                    f" It is open in {holders(row['path'])}: end or unmount that first"
                ) from error


def _users(path: str) -> Iterator[Any]:
    """Yield the rows of lsblk for everything on a disk or file, including loop devices over it and its partitions."""
    rows = list(_walk(_lsblk([path]))) if Path(path).is_block_device() else []
    yield from rows
    # lsblk does not show a loop device below the disk or file that it covers.
    for one in dict.fromkeys([path, *(row["path"] for row in rows)]):
        loops = run(["losetup", "--json", "--list", "--output", "NAME", "--associated", one]).stdout
        for loop in json.loads(loops)["loopdevices"] if loops.strip() else []:
            yield from _users(loop["name"])


def _check_path(path: str) -> str:
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        known = "; ".join(map(str, disks())) or "no disk at all"
        raise HardwareError(f"disk {path}: {error.strerror}. There is: {known}") from error
    if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
        raise HardwareError(f"disk {path}: this is neither a block device nor a raw disk file")
    for row in _lsblk([path]) if stat.S_ISBLK(mode) else []:
        if row["type"] in ("part", *_STACKED):
            raise HardwareError(f"disk {path}: this is no whole disk (it is of type {row['type']}): name the disk that it is on")
    return str(Path(path).resolve())


def _matches(disk: Disk, wanted: Mapping[str, Any]) -> bool:
    for key in _TEXTS:
        if key in wanted and str(wanted[key]).strip().lower() != getattr(disk, key).lower():
            return False
    return int(wanted.get("size_min", 0)) <= disk.size <= int(wanted.get("size_max", disk.size))


def _lsblk(paths: list[str]) -> list[Any]:
    output = run(["lsblk", "--json", "--bytes", "--tree", "--output", _COLUMNS, *paths], accept=(0, 32)).stdout
    rows: list[Any] = json.loads(output)["blockdevices"] if output.strip() else []
    return rows


def _walk(rows: list[Any]) -> Iterator[Any]:
    for row in rows:
        yield row
        yield from _walk(row.get("children", []))
