# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The MBR in front of a GUID partition table.

It is protective if its only entry covers the disk, so that old programs keep away; and hybrid if there are others, which are
some of the GUID partitions once more, for systems that know no GUID partition table.
"""

from __future__ import annotations

import struct
from typing import Callable, NamedTuple, Sequence, Tuple

from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError

Span = Tuple[int, int]

_ENTRY = struct.Struct("<B3sB3sII")
_AT = 446
_PROTECTIVE = 0xEE
# For a place that cylinder, head and sector cannot express; only the offset in sectors counts.
_FAR = b"\xfe\xff\xff"
_MOST = 0xFFFFFFFF


class _Entry(NamedTuple):
    """An entry; I(start) and I(sectors) are counted in sectors."""

    active: int
    first: bytes
    kind: int
    last: bytes
    start: int
    sectors: int

    @property
    def end(self) -> int:
        """The sector behind it."""
        return self.start + self.sectors

    def at(self, start: int, sectors: int) -> _Entry:
        """Return the entry for another place."""
        if (start, sectors) == (self.start, self.sectors):
            return self
        if start + sectors > _MOST:
            raise DiskError(f"the hybrid MBR cannot describe a partition that ends at sector {start + sectors}")
        return self._replace(first=_FAR, last=_FAR, start=start, sectors=sectors)


class FrontMbr:
    """The four entries of the MBR."""

    def __init__(self, head: bytes, number_at: Callable[[Span], int]) -> None:
        """Read them.

        :param number_at: Returns the number of the GUID partition with a start and a count of sectors, 0 if there is none.
        """
        self._entries = [_Entry(*_ENTRY.unpack_from(head, _AT + _ENTRY.size * slot)) for slot in range(4)]
        others = {slot: entry for slot, entry in enumerate(self._entries) if entry.kind not in (0, _PROTECTIVE)}
        self._hybrid = bool(others)
        twins = {slot: number_at((entry.start, entry.sectors)) for slot, entry in others.items()}
        self._twins = {slot: number for slot, number in twins.items() if number}

    def keep_only(self, numbers: Sequence[int]) -> None:
        """Remove all entries but those of some GUID partitions, and the protective ones."""
        for slot, entry in enumerate(self._entries):
            if entry.kind != _PROTECTIVE and self._twins.get(slot) not in numbers:
                self._entries[slot] = _Entry(*_ENTRY.unpack(bytes(_ENTRY.size)))

    def write(self, head: bytearray, span: Callable[[int], Span], last: int, old_last: int) -> None:
        """Put the entries where they belong on a disk.

        :param span: Returns start and count of the sectors of a GUID partition.
        :param last: The last sector of the disk, I(old_last) that of the disk that the table was made for.
        """
        entries = [
            entry.at(*span(self._twins[slot])) if slot in self._twins else entry for slot, entry in enumerate(self._entries)
        ]
        if not self._hybrid or entries != self._entries or last != old_last:
            entries = [self._guarding(entry, entries, last) for entry in entries]
        for slot, entry in enumerate(entries):
            _ENTRY.pack_into(head, _AT + _ENTRY.size * slot, *entry)

    def _guarding(self, entry: _Entry, entries: list[_Entry], last: int) -> _Entry:
        """Return a protective entry that covers what it did between its neighbours, or all up to the disk's end."""
        if entry.kind != _PROTECTIVE:
            return entry
        pairs = [(old, new) for old, new in zip(self._entries, entries) if old.kind not in (0, _PROTECTIVE)]
        start = min(_MOST, max([entry.start, *(new.end for old, new in pairs if old.start < entry.start)]))
        behind = [new.start for old, new in pairs if old.start >= entry.start]
        end = min([entry.end, *behind]) if behind else last + 1
        # It covers the disk as far as 32 bits go.
        return entry._replace(start=start, sectors=max(1, min(end - start, _MOST)))
