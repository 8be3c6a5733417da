# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The used bytes of a region: sorted, disjoint C((offset, length)) pairs, in bytes."""

from __future__ import annotations

from bisect import bisect_right
from typing import Iterable, Iterator, Sequence, Tuple

from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError

Extent = Tuple[int, int]


class Extents:
    """The used bytes of one region."""

    def __init__(self, pairs: Sequence[Sequence[int]]) -> None:
        self.pairs: list[Extent] = [(int(offset), int(length)) for offset, length in pairs]
        self._starts = [offset for offset, _length in self.pairs]
        end = 0
        for offset, length in self.pairs:
            if offset < end or length <= 0:
                raise DiskError(f"the used extents are not sorted and disjoint at byte {offset}")
            end = offset + length
        self.end = end

    @property
    def total(self) -> int:
        """The number of used bytes."""
        return sum(length for _offset, length in self.pairs)

    def with_tail(self, size: int, length: int) -> Extents:
        """Return these extents and the last I(length) bytes of a region of I(size) bytes."""
        start = max(0, size - length)
        return merged([*self.pairs, (start, size - start)])

    def cut(self, end: int) -> Extents:
        """Return the used extents before I(end)."""
        return Extents(list(self.within(0, end)))

    def free(self, size: int) -> Iterator[Extent]:
        """Yield the free extents of a region of I(size) bytes."""
        at = 0
        for offset, length in [*self.pairs, (size, 0)]:
            if offset > at:
                yield at, offset - at
            at = offset + length

    def cover(self, other: Extents) -> bool:
        """Return whether all of others is in these; neighbours must be one."""
        return all(list(self.within(offset, offset + length)) == [(offset, length)] for offset, length in other.pairs)

    def within(self, start: int, end: int) -> Iterator[Extent]:
        """Yield the used extents of one window, cut to it."""
        first = max(0, bisect_right(self._starts, start) - 1)
        for number in range(first, len(self.pairs)):
            offset, length = self.pairs[number]
            if offset >= end:
                return
            low, high = max(offset, start), min(offset + length, end)
            if low < high:
                yield low, high - low


def merged(pairs: Sequence[Extent]) -> Extents:
    """Return extents that may touch or overlap, in any order, as sorted, disjoint ones."""
    result: list[Extent] = []
    for offset, length in sorted(pairs):
        if result and offset <= result[-1][0] + result[-1][1]:
            start, count = result.pop()
            result.append((start, max(count, offset + length - start)))
        else:
            result.append((offset, length))
    return Extents(result)


def widened(spans: Iterable[Extent], size: int, align: int = 4096) -> Extents:
    """Return C((start, end)) pairs, in any order, as extents of whole multiples of I(align), cut to I(size) bytes.

    So they can be read and written past the page cache.
    """
    cut = ((start // align * align, min(size, -(-end // align) * align)) for start, end in spans)
    return merged([(start, end - start) for start, end in cut if start < end])


def parse_ddrescue_map(text: str, size: int) -> Extents:
    """Read the output of C(partclone -D): the used blocks of a filesystem.

    :param size: The size of the region in bytes, to which the extents are cut.
    """
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    used = [(int(row[0], 16), int(row[1], 16)) for row in rows if len(row) == 3 and row[2] == "+"]
    found = widened(((start, start + length) for start, length in used), size)
    if not found.pairs:
        raise DiskError("partclone found no used block: the filesystem is damaged, or this is not what it seems")
    return found
