# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A partition of an image on its way to a disk, and its chunks."""

from __future__ import annotations

from typing import Iterator, NamedTuple

from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, DirectReader
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import ReadError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extent
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import Ids, chunk_bounds
from ansible_collections.reimage.lab.plugins.module_utils.imaging.hashing import Digest, is_zeros, zeros_sha256
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Region
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import Place


class TargetPartition(NamedTuple):
    """A partition to write: the image's region, where it goes, and how to recognise its chunks.

    I(view) is the partition in the image's size, if the disk has less room for it.
    """

    region: Region
    place: Place
    view: Device | None
    ids: Ids
    hashes: Ids
    digest: Digest

    def chunks(self) -> Iterator[TargetChunk]:
        """Yield all of its chunks."""
        return (TargetChunk(self, number) for number in range(self.region.chunks))


class TargetChunk(NamedTuple):
    """One chunk of a partition to write."""

    target: TargetPartition
    number: int

    @property
    def start(self) -> int:
        """Where it begins in the partition."""
        return self._bounds[0]

    @property
    def length(self) -> int:
        """Its bytes, those of free space included."""
        return self._bounds[1]

    @property
    def _bounds(self) -> tuple[int, int]:
        return chunk_bounds(self.number, self.target.region.size)

    @property
    def on_disk(self) -> bool:
        """Whether the disk has room for it; if not, it is only in I(view)."""
        return self.target.view is None or self.start + self.length <= self.target.place.size

    def used(self) -> Iterator[Extent]:
        """Yield which of its bytes are used, as offsets in the partition."""
        return self.target.region.extents.within(self.start, self.start + self.length)

    @property
    def used_bytes(self) -> int:
        """How many of its bytes are used."""
        return sum(count for _offset, count in self.used())

    @property
    def identifier(self) -> bytes:
        """The id that it has in the image."""
        return self.target.ids[self.number]

    @property
    def hash(self) -> bytes:
        """What the target's digest of it must be."""
        return self.target.hashes[self.number]

    @property
    def free_id(self) -> bytes:
        """The id that it has in the image if all of it is free."""
        return zeros_sha256(chunk_bounds(self.number, self.target.place.region.size)[1])

    def is_free_empty(self, data: memoryview) -> bool:
        """Whether nothing but zeros is where I(data), the image's chunk, is said to be free."""
        done = 0
        for offset, count in self.used():
            if not is_zeros(data[done : offset - self.start]):
                return False
            done = offset - self.start + count
        return is_zeros(data[done:])

    def where(self, device: Device) -> tuple[Device, int]:
        """Return the device that holds it, and where the partition begins there."""
        if self.on_disk or self.target.view is None:
            return device, self.target.place.start
        return self.target.view, 0

    def is_held(self, disk: Device | DirectReader, base: int) -> bool:
        """Whether a disk holds it; what cannot be read is not held, and writing makes many a bad sector good again.

        :param base: Where in the disk the partition begins.
        """
        try:
            held = disk.read_used(self.start, self.length, self.target.region.extents, base)
        except ReadError:
            return False
        return self.target.digest(held) == self.hash
