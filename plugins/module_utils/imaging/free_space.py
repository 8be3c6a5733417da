# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of an earlier life of a disk, in what an image calls free: in its partitions, between and behind them.

Nothing of an image is there, so comparing and writing pass it by; but other software reads it, and takes the partition for a
member of a RAID that is no more, for one. Whatever else is in free space stays.
"""

from __future__ import annotations

import threading
from typing import Iterator, NamedTuple, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk import lvm
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extent, Extents, merged
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import used_now
from ansible_collections.reimage.lab.plugins.module_utils.disk.signatures import signatures
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import Layout, Place
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each, threads

# A label of ZFS, the largest thing with signatures in it. All of it goes with the first of them.
_BLOCK = 256 << 10
_MOST_ROUNDS = 16


class Leftover(NamedTuple):
    """A signature in free space: its partition, 0 outside of them; where it begins on the disk; and what libblkid calls it."""

    partition: int
    offset: int
    name: str


class FreeSpace:
    """What an image leaves free of a disk.

    :param pending: Partitions that are not there yet, so nothing is known of them.
    """

    def __init__(self, device: Device, layout: Layout, pending: Sequence[Place] = ()) -> None:
        self._device = device
        self._places = [place for place in layout.places if place not in pending]
        self._fixed = [
            *((offset, len(data)) for offset, data in layout.table),
            *layout.kept,
            *((place.start, place.size) for place in pending),
        ]
        self._resized: dict[int, Extents] = {}
        self._lock = threading.Lock()

    def leftovers(self) -> list[Leftover]:
        """Return all signatures of an earlier life of the disk, each once, in the order in which they are on the disk."""
        found: set[Leftover] = set()
        each(self._areas(), lambda area: found.update(self._in(*area)), threads())
        return sorted(found, key=lambda one: one.offset)

    def clear(self) -> tuple[list[Leftover], int]:
        """Remove them, and return them, with the number of bytes that were written.

        :raises ImagingError: They stay.
        """
        removed: list[Leftover] = []
        count = 0
        for _round in range(_MOST_ROUNDS):
            found = self.leftovers()
            if not found:
                return removed, count
            removed += found
            for begin in sorted({one.offset // _BLOCK * _BLOCK for one in found}):
                for offset, length in self._free(begin, min(begin + _BLOCK, self._device.size)):
                    self._device.write(offset, bytes(length))
                    count += length
            self._device.sync()
        raise ImagingError(
            f"{self._device.path} keeps the signature of {found[0].name} at byte {found[0].offset}, which was written over: the"
            " disk is failing"
        )

    def _areas(self) -> Iterator[Extent]:
        """Yield what other software may take for a partition or a disk."""
        for place in self._places:
            # Where nothing is free, nothing is to be found.
            if place.resized or place.region.extents.total < place.size:
                yield place.start, place.size
                if place.region.filesystem == "LVM2_member":
                    inside = lvm.volumes(self._device.path, place.start, place.size)
                    yield from ((place.start + offset, length) for offset, length in inside)
        taken = merged([*self._fixed, *((place.start, place.size) for place in self._places)])
        sector = self._device.sector_size
        whole = self._device.size // sector * sector
        yield from ((start, length) for start, length in taken.cut(whole).free(whole) if length >= sector)
        yield 0, self._device.size

    def _in(self, start: int, size: int) -> Iterator[Leftover]:
        for offset, name in signatures(self._device, start, size):
            place = next((one for one in self._places if one.start <= offset < one.start + one.size), None)
            # Asking a filesystem for its map takes long; resizing leaves its own signature where it was.
            if place and _holds(place.region.extents, offset - place.start):
                continue
            if any(self._free(offset, offset + 1)):
                yield Leftover(place.region.number if place else 0, offset, name)

    def _free(self, start: int, end: int) -> Iterator[Extent]:
        """Yield the free extents of a window of the disk."""
        fixed = [(max(start, at), min(end, at + length)) for at, length in self._fixed]
        used = [(low - start, high - low) for low, high in fixed if low < high]
        for place in self._places:
            if place.start < end and start < place.start + place.size:
                inside = self._used(place).within(max(0, start - place.start), min(place.size, end - place.start))
                used += [(place.start + at - start, length) for at, length in inside]
        return ((start + at, length) for at, length in merged(used).free(end - start))

    def _used(self, place: Place) -> Extents:
        if not place.resized:
            return place.region.extents
        with self._lock:
            number = place.region.number
            if number not in self._resized:
                kind, sector = place.region.filesystem, self._device.sector_size
                self._resized[number] = used_now(self._device.path, place.start, place.size, kind, sector)
            return self._resized[number]


def _holds(extents: Extents, offset: int) -> bool:
    return any(extents.within(offset, offset + 1))
