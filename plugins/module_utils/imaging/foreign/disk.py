# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A raw disk file that a foreign folder is unpacked to, or packed from: sparse, and gone afterwards."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Iterator

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import UnmappedError
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import TableEntry, blkid, read_partitions
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError

SECTOR = 512
LARGEST_DISK = 32 << 40  # bytes
_EXTENDED = ("5", "f", "85", "c5")
_RESERVED = "E3C9E316-0B5C-4DB8-817D-F92DF00215AE"
_BOOT_LOADER = "21686148-6449-6E6F-744E-656564454649"
_BOOT_CODE = 440
_MAPPED_WRONGLY = ("vfat", "btrfs")  # by partclone 0.3.23, if they are FAT12, or have copies
_GPT_SIGNATURE = b"EFI PART"
_BACKUP_AT = SECTOR + 32  # where a GPT's header says which sector is the disk's last
_ENTRY = re.compile(r"^([^\s:]+)\s*:.*?start=\s*(\d+)\s*,\s*size=\s*(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Partition:
    """One partition of the disk file. Offsets and sizes are bytes; I(filesystem) and the rest are what blkid says."""

    number: int
    start: int
    size: int
    type: str
    filesystem: str
    uuid: str
    label: str

    @property
    def is_extended(self) -> bool:
        """Whether it only contains logical partitions."""
        return self.type.lower() in _EXTENDED

    @property
    def is_reserved(self) -> bool:
        """Whether it is Microsoft's reserved one, which never holds anything."""
        return self.type.upper() == _RESERVED

    @property
    def may_be_empty(self) -> bool:
        """Whether it may hold nothing, as that for a boot loader's code does on a disk that only UEFI boots."""
        return self.is_reserved or self.type.upper() == _BOOT_LOADER


class WorkDisk:
    """A raw disk file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []

    def make(self, size: int) -> None:
        """Make the disk anew, empty."""
        with self.path.open("wb") as file:
            file.truncate(size)

    def write_table(self, script: str, size: int, what: str) -> None:
        """Make the disk anew, with the partitions that C(sfdisk --dump) printed elsewhere.

        :param size: The size of the original disk in bytes, or 0 if only the table tells.
        :param what: The file that I(script) came from, for error messages.
        :raises ImagingError: It is no table, or sfdisk makes another one of it.
        """
        needed = _size(script, what)
        self.make(max(size, needed))
        lines = script.splitlines()
        rows = [(_number(found[1]), int(found[2]), int(found[3]), line) for line in lines for found in _ENTRY.finditer(line)]
        # In another order, sfdisk would number logical partitions otherwise. Before 2014 it printed unused entries too.
        wanted = sorted(row for row in rows if row[2])
        others = [line for line in lines if not _ENTRY.match(line)]
        try:
            text = "\n".join([*others, *(line for *_place, line in wanted), ""])
            run(["sfdisk", "--quiet", "--force", "--no-reread", str(self.path)], data=text.encode())
        except CommandError as error:
            raise ImagingError(f"{what} is not a partition table that sfdisk understands: {error}") from error
        with Device(str(self.path)) as device:
            made = [(entry.number, entry.start // SECTOR, entry.size // SECTOR) for entry in read_partitions(device)[1]]
        if sorted(made) != [tuple(place) for *place, _line in wanted]:
            raise ImagingError(
                f"{what} is not the partition table of a disk: sfdisk makes another one of it; copy the folder again"
            )

    def write_gpt(self, first: bytes, backup: bytes, what: str) -> None:
        """Make the disk anew, with a GPT that was saved as bytes, from the disk's beginning and up to its end.

        :param what: The file that I(first) came from, for error messages.
        """
        last = int.from_bytes(first[_BACKUP_AT : _BACKUP_AT + 8], "little")
        if len(first) < 2 * SECTOR or first[SECTOR : SECTOR + 8] != _GPT_SIGNATURE:
            raise ImagingError(f"{what} is no GUID partition table: it is truncated or damaged; copy the folder again")
        size = (sectors(str(last), what) + 1) * SECTOR
        self.make(size)
        with self.path.open("r+b") as file:
            file.write(first)
            file.seek(max(0, size - len(backup)))
            file.write(backup)

    @property
    def is_gpt(self) -> bool:
        """Whether its table is a GPT."""
        return self.head(len(_GPT_SIGNATURE), SECTOR) == _GPT_SIGNATURE

    def write_head(self, data: bytes, end: int) -> None:
        """Put the boot code of I(data), a disk's first bytes, before the table, and what stands behind the table up to I(end)."""
        with self.path.open("r+b") as file:
            file.write(data[:_BOOT_CODE])
            file.seek(SECTOR)
            file.write(data[SECTOR:end])

    def head(self, length: int, offset: int = 0) -> bytes:
        """Return bytes of the disk."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def partitions(self) -> list[Partition]:
        """Return what the disk holds, by number."""
        with Device(str(self.path)) as device:
            entries = read_partitions(device)[1]
        return [self._partition(entry) for entry in entries]

    def _partition(self, entry: TableEntry) -> Partition:
        tags = [blkid(str(self.path), entry.start, entry.size).get(tag, "") for tag in ("TYPE", "UUID", "LABEL")]
        return Partition(entry.number, entry.start, entry.size, entry.type, *tags)

    @contextmanager
    def device(self, partition: Partition, *, write: bool = False) -> Iterator[str]:
        """Have a partition as a block device for a while."""
        with loop_device(str(self.path), partition.start, partition.size, write=write) as loop:
            yield loop

    @contextmanager
    def whole(self) -> Iterator[str]:
        """Have the whole disk as a block device for a while, to be written."""
        with loop_device(str(self.path), 0, self.path.stat().st_size, write=True) as loop:
            yield loop

    def complete(self, partition: Partition, *, mapped: bool) -> None:
        """Give an NTFS the copy of its boot sector back, which is in its last sector, and not in an image by partclone.

        :param mapped: Whether partclone left out what it took for free, so that a person should know what else is missing.
        """
        if mapped:
            self._note_lost(partition)
        boot = self.head(SECTOR, partition.start)
        if boot[3:7] != b"NTFS":
            return
        sector, count = int.from_bytes(boot[11:13], "little"), int.from_bytes(boot[40:48], "little")
        end = sector * count
        if end + SECTOR <= partition.size and not any(self.head(SECTOR, partition.start + end)):
            with self.path.open("r+b") as file:
                file.seek(partition.start + end)
                file.write(boot)

    def _note_lost(self, partition: Partition) -> None:
        """Warn if nothing was written where a filesystem uses something."""
        kind = blkid(str(self.path), partition.start, partition.size).get("TYPE", "")
        if kind not in _MAPPED_WRONGLY:
            return
        try:
            with self.device(partition) as device:
                used = filesystem(kind).map(device)
        except UnmappedError:
            return
        # A capture takes more along at both ends, which is no loss.
        spans = used.within(1 << 20, partition.size - 4096)
        with self.path.open("rb") as file:
            lost = sum(_hole(file, partition.start + offset, length) for offset, length in spans)
        if lost:
            self.warnings.append(
                f"partition {partition.number} ({kind}): {lost} bytes that it uses are not in the folder, because some versions"
                " of partclone leave out parts of such filesystems: look at its files, or capture the disk itself"
            )

    def make_swap(self, partition: Partition, uuid: str, label: str) -> None:
        """Make a partition a swap area."""
        with self.device(partition, write=True) as device:
            run(["mkswap", *(["--uuid", uuid] if uuid else []), *(["--label", label] if label else []), device])


def _hole(file: BinaryIO, offset: int, length: int) -> int:
    """Return how many of some bytes of a file were never written."""
    at, end, lost = offset, offset + length, 0
    while at < end:
        hole = min(end, os.lseek(file.fileno(), at, os.SEEK_HOLE))
        try:
            at = min(end, os.lseek(file.fileno(), hole, os.SEEK_DATA)) if hole < end else end
        except OSError:  # there is no more data
            at = end
        lost += at - hole
    return lost


@contextmanager
def work_disk(folder: str, name: str = "sda") -> Iterator[WorkDisk]:
    """A disk file in a new folder below I(folder), or where temporary files go, for as long as it is needed."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix="reimage-", dir=folder or None)
    except OSError as error:
        raise ImagingError(f"the work folder {folder or tempfile.gettempdir()} cannot be used: {error.strerror}") from error
    with temporary as where:
        yield WorkDisk(Path(where, name))


def sectors(text: str, what: str) -> int:
    """Return a number of sectors that a file says, if a disk can have as many.

    :param what: The file, for error messages.
    """
    if len(text) > len(str(LARGEST_DISK)) or int(text) * SECTOR > LARGEST_DISK:
        raise ImagingError(f"{what} speaks of {text:.30} sectors, which no disk has: it is damaged")
    return int(text)


def _number(node: str) -> int:
    """Return the number of a partition that is called C(/dev/sda1), C(/dev/nvme0n1p1) or such, 0 if there is none."""
    digits = node[len(node.rstrip("0123456789")) :]
    return int(digits) if 0 < len(digits) < 4 else 0


def _size(script: str, what: str) -> int:
    sector = re.search(r"^sector-size:\s*(\d+)", script, re.MULTILINE)
    if sector and sector[1] != str(SECTOR):
        raise ImagingError(
            f"{what} is of a disk with sectors of {sector[1]:.20} bytes, which a disk file does not have: restore the folder to"
            " such a disk with the program that made it, and capture that"
        )
    ends = [sectors(start, what) + sectors(size, what) for _node, start, size in _ENTRY.findall(script)]
    if not ends:
        raise ImagingError(f"{what} names no partition: it is empty, truncated, or not what sfdisk prints")
    last = re.search(r"^last-lba:\s*(\d+)", script, re.MULTILINE)
    entries = re.search(r"^table-length:\s*(\d+)", script, re.MULTILINE)
    # Behind the last usable sector there are the entries of the backup table, 128 bytes each, and its header.
    behind = -(-sectors(entries[1], what) // 4) if entries else 32
    end = max([*ends, sectors(last[1], what) + 1]) + behind + 1 if last else max(ends)
    return end * SECTOR
