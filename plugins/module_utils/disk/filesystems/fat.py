# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""FAT12, FAT16 and FAT32.

The table of clusters is read here: partclone 0.3.23 reads the 12 bits of FAT12 as 16, and leaves out what files use.
Source: Microsoft, FAT: General Overview of On-Disk Format, 1.03.
"""

from __future__ import annotations

import struct
import sys
from array import array
from dataclasses import dataclass
from itertools import islice
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extent, Extents, widened
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import (
    DIRTY,
    Filesystem,
    Unfit,
    UnmappedError,
    read,
    size_of,
)

_TOO_MANY = {12: 4085, 16: 65525, 32: 0xFFFFFF5}  # clusters
_AT_ONCE = 1 << 18  # entries, of a table that may have a gigabyte
_BAD = {12: 0xFF7, 16: 0xFFF7, 32: 0xFFFFFF7}
# Bits of the table's second entry that are set while the volume is clean, and no error was met.
_SOUND = {12: 0, 16: 0xC000, 32: 0xC000000}
_ENTRY_SIZE = {12: 1.5, 16: 2, 32: 4}


class Fat(Filesystem):
    """FAT."""

    names = ("vfat",)
    partclone = "vfat"

    def unfit(self, device: str) -> Unfit | None:
        """Windows did not finish. The mark that Linux makes means less: the table that says what is used is whole."""
        try:
            layout = _Layout.read(device)
        except UnmappedError:
            return None
        sound = _SOUND[layout.bits]
        _media, state = layout.entries(device, 2)
        if state & sound == sound:
            return None
        return Unfit(DIRTY, "was not unmounted cleanly: on the master run chkdsk /f or fsck.fat -a, and shut it down")

    def map(self, device: str) -> Extents:
        """Return what is in front of the clusters, the clusters that the table does not call free, and the last 4 KiB."""
        layout, size = _Layout.read(device), size_of(device)
        spans = [(0, layout.data), *layout.spans(layout.entries(device, layout.clusters + 2))]
        return widened(spans, size).with_tail(size, 4096)

    def length(self, device: str) -> int:
        """Return what the boot sector says."""
        try:
            return _Layout.read(device).length
        except UnmappedError:
            return 0


@dataclass(frozen=True)
class _Layout:
    """Where in a volume is what: bytes, but for the number of clusters and of bits that an entry of the table has."""

    bits: int
    table: int
    data: int
    cluster: int
    clusters: int
    length: int

    @classmethod
    def read(cls, device: str) -> _Layout:
        """Read it from the boot sector."""
        boot = read(device, 0, 512)
        sector, per_cluster, reserved, tables, roots, small, _media, table16 = struct.unpack_from("<HBHBHHBH", boot, 11)
        large, table32, flags = struct.unpack_from("<IIH", boot, 32)
        sectors, table = small or large, table16 or table32
        if not (sector and per_cluster and reserved and tables and table):
            raise UnmappedError("its boot sector makes no sense")
        data = (reserved + tables * table) * sector + -(-roots * 32 // sector) * sector
        clusters = (sectors * sector - data) // (per_cluster * sector)
        bits = 32 if not table16 else 12 if clusters < _TOO_MANY[12] else 16
        # Tables of FAT32 need not be copies of each other.
        active = flags & 15 if bits == 32 and flags & 0x80 else 0
        fits = (clusters + 2) * _ENTRY_SIZE[bits] <= table * sector and active < tables
        if not (0 < clusters < _TOO_MANY[bits] and fits):
            raise UnmappedError("its table of clusters does not fit the rest")
        begin = (reserved + active * table) * sector
        return cls(bits, begin, data, per_cluster * sector, clusters, sectors * sector)

    def entries(self, device: str, count: int) -> Iterator[int]:
        """Yield the first entries of the table."""
        if self.bits == 12:
            packed = read(device, self.table, -(-count // 2) * 3)
            triples = (int.from_bytes(packed[at : at + 3], "little") for at in range(0, len(packed), 3))
            yield from islice((entry for triple in triples for entry in (triple & 0xFFF, triple >> 12)), count)
            return
        size = self.bits // 8
        for first in range(0, count, _AT_ONCE):
            packed = read(device, self.table + first * size, min(_AT_ONCE, count - first) * size)
            entries = array("H" if size == 2 else "I", packed)
            if sys.byteorder == "big":
                entries.byteswap()
            yield from entries

    def spans(self, entries: Iterator[int]) -> Iterator[Extent]:
        """Yield where the runs of used clusters begin and end. Bad ones hold nothing, and may not be readable."""
        free, mask = (0, _BAD[self.bits]), (1 << min(self.bits, 28)) - 1
        begin = 0
        for number, entry in enumerate(entries):
            used = number >= 2 and entry & mask not in free
            if used and not begin:
                begin = number
            elif begin and not used:
                yield self._at(begin), self._at(number)
                begin = 0
        if begin:
            yield self._at(begin), self._at(self.clusters + 2)

    def _at(self, number: int) -> int:
        return self.data + (number - 2) * self.cluster
