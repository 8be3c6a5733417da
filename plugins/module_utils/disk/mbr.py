# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The master boot record, and the chain of sectors that describes its logical partitions.

A logical partition's sector contains an entry for the partition, relative to that sector, and a link to the next such sector,
relative to the extended partition.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Callable, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError

_ENTRY = struct.Struct("<B3sB3sII")
_FIRST = 446
_EXTENDED = (0x05, 0x0F, 0x85)
# For a place that cylinder, head and sector cannot express; only the offset in sectors counts.
_FAR = b"\xfe\xff\xff"
_MOST_LOGICAL = 60
LARGEST_SECTOR = 0xFFFFFFFF


@dataclass
class _Link:
    """One sector of the chain, with its own place and its partition's, in sectors."""

    offset: int
    data: bytearray
    start: int
    size: int


class Mbr:
    """An MBR with its boot code, and all bytes between it and the first partition."""

    def __init__(self, head: bytes, links: Sequence[tuple[int, bytes]], sector: int) -> None:
        self._sector = sector
        self._head = bytearray(head)
        if len(head) < sector or bytes(head[510:512]) != b"\x55\xaa":
            raise DiskError("the first sector of the disk is not a master boot record")
        self._links = [_link(offset // sector, bytearray(data)) for offset, data in links]
        self._changed = False
        first, size = self.container()
        if any(not first <= offset < first + size for offset, _data in links):
            raise DiskError("the partition table is damaged: its chain of logical partitions leads out of the extended one")
        starts = [link.start for link in self._links if link.size]
        self._lead = min(starts) - first // sector if starts else 0

    def span(self, number: int) -> tuple[int, int]:
        """Return a partition's start and size."""
        if number <= 4:
            _active, _first, _kind, _last, start, size = _ENTRY.unpack(self.entry(number))
        else:
            link = self._logical(number)
            start, size = link.start, link.size
        return start * self._sector, size * self._sector

    def front(self, number: int) -> int:
        """Return where a partition begins, or the sector that describes it, unless that is before another one."""
        start = self.span(number)[0]
        if number <= 4:
            return start
        offset = self._logical(number).offset * self._sector
        between = any(offset < link.start * self._sector < start for link in self._links)
        return start if between else offset

    def place(self, number: int, start: int, size: int) -> None:
        """Give a partition another start and size."""
        first, count = start // self._sector, size // self._sector
        if first + count > LARGEST_SECTOR:
            raise DiskError(f"partition {number} would end behind the {LARGEST_SECTOR} sectors that an MBR can describe")
        if number <= 4:
            self._set(number, first, count)
            return
        link = self._logical(number)
        if (link.start, link.size) != (first, count):
            link.offset += first - link.start
            link.start, link.size = first, count
            self._changed = True

    def entry(self, number: int) -> bytes:
        """Return a partition's own entry."""
        if number > 4:
            raise DiskError(f"partition {number} is a logical one, whose entry means nothing in another table")
        return bytes(self._head[_FIRST + 16 * (number - 1) : _FIRST + 16 * number])

    def put(self, number: int, entry: bytes) -> None:
        """Make an entry of another table partition I(number)."""
        self._head[_FIRST + 16 * (number - 1) : _FIRST + 16 * number] = entry[:16].ljust(16, b"\0")

    def keep_only(self, numbers: Sequence[int]) -> None:
        """Remove all other partitions, and the boot code."""
        logical = [number for number in numbers if number > 4]
        for number in range(1, 5):
            if number not in numbers and not (logical and self.entry(number)[4] in _EXTENDED):
                self.put(number, b"")
        if not logical:
            self._links = []
        self._head[:440] = bytes(440)
        self.cut(0)

    def cut(self, end: int) -> None:
        """Leave out the bytes behind the table, from byte I(end) on."""
        del self._head[max(end, self._sector) :]

    def container(self) -> tuple[int, int]:
        """Return start and size of the extended partition, or zeros without one."""
        if not self._links:
            return 0, 0
        fields = _ENTRY.unpack(self.entry(self._extended()))
        return fields[4] * self._sector, fields[5] * self._sector

    def free_number(self) -> int:
        """Return the first number that no partition has."""
        for number in range(1, 5):
            if self.entry(number)[4] == 0:
                return number
        raise DiskError("the partition table has no room for one more primary partition")

    def smallest_disk(self, end: int) -> int:
        """Return the size that a disk must have for partitions that end at byte I(end)."""
        return end

    def usable_end(self, disk_size: int) -> int:
        """Return the offset at which the last partition on a disk of I(disk_size) must have ended."""
        return min(disk_size // self._sector, LARGEST_SECTOR) * self._sector

    def pieces(self, disk_size: int) -> list[tuple[int, bytes]]:
        """Return the pieces to write on a disk of I(disk_size), the one with the first sector first."""
        if self._changed or sum(self.container()) > disk_size:
            self._relink()
        return [(0, bytes(self._head)), *((link.offset * self._sector, bytes(link.data)) for link in self._links)]

    def _relink(self) -> None:
        """Make the chain and the extended partition match the places of the logical partitions.

        The chain gives the partitions their numbers, so it keeps its order, which need not be that of the disk. Its first
        sector is that of the extended partition, wherever the partition is that it describes.
        """
        # A link without a partition says nothing, and may lie in another partition now.
        links = self._links = [link for link in self._links if link.size] or self._links[:1]
        start = min(link.start for link in links) - self._lead if links[0].size else links[0].offset
        links[0].offset = start
        self._set(self._extended(), start, max(1, max(link.start + link.size for link in links) - start))
        for link, following in zip(links, [*links[1:], None]):
            if any(other.start <= link.offset < other.start + other.size for other in links):
                raise DiskError(f"the sector that describes the logical partition at {link.start} would be in another partition")
            _put(link.data, 0, link.start - link.offset, link.size)
            if following:
                _put(link.data, 1, following.offset - start, following.start + following.size - following.offset)

    def _extended(self) -> int:
        for number in range(1, 5):
            if self.entry(number)[4] in _EXTENDED:
                return number
        raise DiskError("the partition table is damaged: it has logical partitions, and no extended one that holds them")

    def _set(self, number: int, start: int, size: int) -> None:
        _put(self._head, number - 1, start, size)

    def _logical(self, number: int) -> _Link:
        # Like the kernel and sfdisk, do not count a link without a partition.
        found = [link for link in self._links if link.size]
        if number - 5 >= len(found):
            raise DiskError(f"the partition table has no partition {number}")
        return found[number - 5]


def read_links(read: Callable[[int, int], bytes], sector: int) -> list[tuple[int, bytes]]:
    """Return the sectors that describe the logical partitions, with their offsets in bytes.

    :param read: Returns bytes of the disk, given offset and length.
    """
    head = read(0, sector)
    entries = [_ENTRY.unpack_from(head, _FIRST + 16 * number) for number in range(4)]
    extended = [entry for entry in entries if entry[2] in _EXTENDED]
    if not extended:
        return []
    base = following = extended[0][4]
    found: list[tuple[int, bytes]] = []
    while len(found) < _MOST_LOGICAL:
        data = read(following * sector, sector)
        if data[510:512] != b"\x55\xaa":
            raise DiskError(f"the chain of logical partitions is broken at sector {following}")
        found.append((following * sector, data))
        link = _ENTRY.unpack_from(data, _FIRST + 16)
        if link[2] not in _EXTENDED:
            return found
        following = base + link[4]
    raise DiskError(f"there are more than {_MOST_LOGICAL} logical partitions, or their chain has no end")


def _link(offset: int, data: bytearray) -> _Link:
    entry = _ENTRY.unpack_from(data, _FIRST)
    return _Link(offset, data, offset + entry[4], entry[5])


def _put(data: bytearray, index: int, start: int, size: int) -> None:
    active, first, kind, last, old_start, old_size = _ENTRY.unpack_from(data, _FIRST + 16 * index)
    if (old_start, old_size) != (start, size):
        first = last = _FAR
    try:
        _ENTRY.pack_into(data, _FIRST + 16 * index, active, first, kind, last, start, size)
    except struct.error as error:
        raise DiskError("the partition table is damaged: its chain of logical partitions leads nowhere") from error
