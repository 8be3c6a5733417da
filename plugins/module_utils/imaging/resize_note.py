# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A note on the disk of what resizing made of a partition, so that the next deploy knows it again.

A filesystem that has grown differs from the image's. The note, 4 KiB in the gap before the first partition, says which image it
was, where its partitions are, and the digest of what each resized one holds; it is believed only where the partition still has
that digest.
"""

from __future__ import annotations

import hashlib
import json
import struct

from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import ReadError
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import used_now
from ansible_collections.reimage.lab.plugins.module_utils.disk.tables import Piece
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import chunk_bounds, chunk_count
from ansible_collections.reimage.lab.plugins.module_utils.imaging.hashing import sha256
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import Layout, Place
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each, threads

SIZE = 4096
_MAGIC = "reimage.lab record 1\n"
_SMALLEST_GAP = 256 << 10


class ResizeNote:
    """The note for one image on one layout."""

    def __init__(self, index: Index, layout: Layout) -> None:
        self._layout = layout
        head = layout.table[0][1]
        # A master that was deployed itself has a note of its own there.
        free = len(head) >= _SMALLEST_GAP and (not any(head[-SIZE:]) or head[-SIZE:].startswith(_MAGIC.encode()))
        self._at = len(head) - SIZE if free and any(place.resized for place in layout.places) else 0
        self._key = _key(index, layout) if self._at else ""

    def fingerprint_on(self, device: Device, place: Place) -> str:
        """Return what the disk's note says of a partition, or nothing if it has none for this image and layout."""
        return self._read(device).get(str(place.region.number), "")

    def comparable(self, device: Device) -> list[Piece]:
        """Return the table to compare a disk with; what the note says is not part of the question."""
        if not self._at:
            return self._layout.table
        head = self._layout.table[0][1]
        return [(0, head[: self._at] + device.read(self._at, SIZE)), *self._layout.table[1:]]

    def complete(self, device: Device, resized: list[Place]) -> list[Piece]:
        """Return the table to write, with the note on what was just resized, and what it already said of the rest."""
        if not self._at:
            return self._layout.table
        found = {**self._read(device), **{str(place.region.number): fingerprint(device, place) for place in resized}}
        note = (_MAGIC + json.dumps({"key": self._key, "partitions": found})).encode()
        head = self._layout.table[0][1]
        return [(0, head[: self._at] + note.ljust(SIZE, b"\0")), *self._layout.table[1:]]

    def _read(self, device: Device) -> dict[str, str]:
        if not self._at:
            return {}
        try:
            text = device.read(self._at, SIZE).rstrip(b"\0").decode("ascii", errors="replace")
            value = json.loads(text[len(_MAGIC) :]) if text.startswith(_MAGIC) else {}
            return dict(value["partitions"]) if value.get("key") == self._key else {}
        except (ReadError, ValueError, TypeError, KeyError):
            return {}


def _key(index: Index, layout: Layout) -> str:
    digest = hashlib.sha256()
    for part in index.parts():
        digest.update(part)
    spans = [(place.region.number, place.start, place.size) for place in layout.places]
    digest.update(json.dumps(spans).encode())
    return digest.hexdigest()


def fingerprint(device: Device, place: Place) -> str:
    """Return a digest of all used bytes of a filesystem, and of which they are."""
    extents = used_now(device.path, place.start, place.size, place.region.filesystem, device.sector_size)
    count = chunk_count(place.size)
    digests = [b""] * count

    def one(number: int) -> None:
        start, length = chunk_bounds(number, place.size)
        if next(extents.within(start, start + length), None):
            digests[number] = sha256(device.read_used(start, length, extents, place.start))

    each(range(count), one, threads())
    total = hashlib.sha256(b"".join(digests))
    for offset, length in extents.pairs:
        total.update(struct.pack("<QQ", offset, length))
    return total.hexdigest()
