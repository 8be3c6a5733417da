# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GUID partition table.

Source: UEFI Specification 2.10, section 5.3.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Callable, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.front_mbr import FrontMbr

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_SIZE, _CRC, _MY_LBA, _OTHER_LBA, _FIRST_USABLE, _LAST_USABLE = 2, 3, 5, 6, 7, 8
_ENTRIES_LBA, _COUNT, _ENTRY_SIZE, _ENTRIES_CRC = 10, 11, 12, 13
_SPAN = struct.Struct("<QQ")
_SPAN_AT = 32
_SMALLEST_ENTRY = 128
_BOOT_CODE = 440
_CRC_AT = 16  # in the header
_ENTRIES = 2  # the sector in which they usually begin


class FarError(DiskError):
    """The entries of a table that may be whole are not among the bytes that were read."""


class Gpt:
    """A GUID partition table, with all bytes before the first partition."""

    def __init__(self, head: bytes, sector: int) -> None:
        self._sector = sector
        self._head = bytearray(head)
        self._fields: list[Any] = list(_HEADER.unpack_from(head, sector))
        fields = self._fields
        if fields[0] != b"EFI PART" or not _HEADER.size <= fields[_SIZE] <= sector:
            raise DiskError("the first bytes of the disk do not hold a GUID partition table")
        if fields[_ENTRY_SIZE] < _SMALLEST_ENTRY or fields[_ENTRIES_LBA] < 2:
            raise DiskError("the GUID partition table is damaged: its entries are not where they can be")
        self._start = fields[_ENTRIES_LBA] * sector
        self._entries = bytearray(head[self._start : self._start + fields[_COUNT] * fields[_ENTRY_SIZE]])
        if len(self._entries) != fields[_COUNT] * fields[_ENTRY_SIZE]:
            raise FarError(
                f"the GUID partition table has its entries at sector {fields[_ENTRIES_LBA]}, behind a partition, or too far from"
                " the beginning of the disk: move them back with sgdisk --move-main-table=2"
            )
        if zlib.crc32(self._entries) != fields[_ENTRIES_CRC]:
            raise DiskError("the GUID partition table is damaged: its entries do not match their checksum")
        self._entry_sectors = -(-len(self._entries) // sector)
        self._mbr = FrontMbr(head, self._number_at)

    def span(self, number: int) -> tuple[int, int]:
        """Return a partition's start and size."""
        first, count = self._sectors(number)
        return first * self._sector, count * self._sector

    def front(self, number: int) -> int:
        """Return where a partition begins."""
        return self.span(number)[0]

    def place(self, number: int, start: int, size: int) -> None:
        """Give a partition another start and size."""
        at = self._at(number) + _SPAN_AT
        # A partition of another table may begin before the first sector that this one allowed.
        self._fields[_FIRST_USABLE] = min(self._fields[_FIRST_USABLE], start // self._sector)
        _SPAN.pack_into(self._entries, at, start // self._sector, (start + size) // self._sector - 1)

    def entry(self, number: int) -> bytes:
        """Return a partition's own entry."""
        return bytes(self._entries[self._at(number) : self._at(number) + self._fields[_ENTRY_SIZE]])

    def put(self, number: int, entry: bytes) -> None:
        """Make an entry of another table partition I(number)."""
        size = self._fields[_ENTRY_SIZE]
        self._entries[self._at(number) : self._at(number) + size] = entry[:size].ljust(size, b"\0")

    def keep_only(self, numbers: Sequence[int]) -> None:
        """Remove all other partitions, and the boot code."""
        for number in range(1, self._fields[_COUNT] + 1):
            if number not in numbers:
                self.put(number, b"")
        self._mbr.keep_only(numbers)
        self._head[:_BOOT_CODE] = bytes(_BOOT_CODE)
        self.cut(0)

    def cut(self, end: int) -> None:
        """Leave out the bytes behind the table, from byte I(end) on."""
        del self._head[max(end, self._start + self._entry_sectors * self._sector) :]

    def container(self) -> tuple[int, int]:
        """Return zeros: no partition contains others."""
        return 0, 0

    def free_number(self) -> int:
        """Return the first number that no partition has."""
        for number in range(1, self._fields[_COUNT] + 1):
            if not any(self.entry(number)[:16]):
                return number
        raise DiskError("the partition table has no room for one more partition")

    def smallest_disk(self, end: int) -> int:
        """Return the size that a disk must have for partitions that end at byte I(end)."""
        return end + (self._entry_sectors + 1) * self._sector

    def usable_end(self, disk_size: int) -> int:
        """Return the offset at which the last partition on a disk of I(disk_size) must have ended."""
        return disk_size // self._sector * self._sector - (self._entry_sectors + 1) * self._sector

    def pieces(self, disk_size: int) -> list[tuple[int, bytes]]:
        """Return the pieces to write on a disk of I(disk_size), the one with the first sector first."""
        sector = self._sector
        last = disk_size // sector - 1
        fields = self._fields
        fields[_ENTRIES_CRC] = zlib.crc32(self._entries)
        fields[_LAST_USABLE] = last - self._entry_sectors - 1
        head = bytearray(self._head)
        head[sector : sector + fields[_SIZE]] = _header(self._fields, 1, last, self._start // sector)
        head[self._start : self._start + len(self._entries)] = self._entries
        self._mbr.write(head, self._sectors, last, fields[_OTHER_LBA])
        behind = last - self._entry_sectors
        entries = bytes(self._entries).ljust(self._entry_sectors * sector, b"\0")
        return [(0, bytes(head)), (behind * sector, entries + _header(self._fields, last, 1, behind).ljust(sector, b"\0"))]

    def _sectors(self, number: int) -> tuple[int, int]:
        first, last = _SPAN.unpack_from(self._entries, self._at(number) + _SPAN_AT)
        return first, last + 1 - first

    def _number_at(self, span: tuple[int, int]) -> int:
        numbers = range(1, self._fields[_COUNT] + 1)
        return next((number for number in numbers if self._sectors(number) == span), 0)

    def _at(self, number: int) -> int:
        if not 1 <= number <= self._fields[_COUNT]:
            raise DiskError(f"the partition table has no place for a partition {number}")
        return int((number - 1) * self._fields[_ENTRY_SIZE])


def check_header(header: bytes) -> None:
    """Raise C(DiskError) if other software would not believe a header, given its sector."""
    fields = _HEADER.unpack_from(header)
    if fields[0] != b"EFI PART" or not _HEADER.size <= fields[_SIZE] <= len(header):
        raise DiskError("the GUID partition table is damaged: its header is none")
    if fields[_CRC] != _checksum(header[: fields[_SIZE]]):
        raise DiskError("the GUID partition table is damaged: its header does not match its checksum")


def from_backup(head: bytes, sector: int, size: int, read: Callable[[int, int], bytes]) -> bytes:
    """Return the head of a disk whose GUID partition table is damaged, with the one that the disk's end has.

    :param size: The size of the disk, in bytes.
    :param read: Returns bytes of the disk, given offset and length.
    :raises DiskError: That one is damaged, too.
    """
    last = size // sector - 1
    header = read(last * sector, sector)
    fields = list(_HEADER.unpack_from(header))
    if (
        fields[0] != b"EFI PART"
        or not _HEADER.size <= fields[_SIZE] <= sector
        or fields[_CRC] != _checksum(header[: fields[_SIZE]])
    ):
        raise DiskError("both copies of the GUID partition table are damaged")
    length = fields[_COUNT] * fields[_ENTRY_SIZE]
    first = fields[_ENTRIES_LBA] * sector
    if length > len(head) or first + length > size:
        raise DiskError("both copies of the GUID partition table are damaged: the one at the end leads out of the disk")
    entries = read(first, length)
    # They may have been moved out of the way of a boot loader.
    damaged = _HEADER.unpack_from(head, sector)[_ENTRIES_LBA]
    start = damaged if entries == head[damaged * sector : damaged * sector + length] else _ENTRIES
    mended = bytearray(head)
    mended[sector : sector + fields[_SIZE]] = _header(fields, 1, last, start)
    mended[start * sector : start * sector + length] = entries
    return bytes(mended[: len(head)])


def _header(fields: Sequence[Any], mine: int, other: int, entries: int) -> bytes:
    """Return a header with its own place, that of the other one, and that of its entries."""
    changed = list(fields)
    changed[_MY_LBA], changed[_OTHER_LBA], changed[_ENTRIES_LBA] = mine, other, entries
    changed[_CRC] = _checksum(_HEADER.pack(*changed).ljust(changed[_SIZE], b"\0"))
    return _HEADER.pack(*changed).ljust(changed[_SIZE], b"\0")


def _checksum(header: bytes) -> int:
    """Return the checksum of a header, which is made as if the field for it were empty."""
    return zlib.crc32(header[:_CRC_AT] + bytes(4) + header[_CRC_AT + 4 :])
