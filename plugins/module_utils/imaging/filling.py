# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second pass of a deploy: a disk gets the chunks that it lacks."""

from __future__ import annotations

import threading
from typing import KeysView, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, DirectReader
from ansible_collections.reimage.lab.plugins.module_utils.disk.tables import Piece
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Meter
from ansible_collections.reimage.lab.plugins.module_utils.imaging.target_partition import TargetChunk
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each, threads


class Wanted:
    """The chunks that a disk lacks, by id. Threads share it."""

    def __init__(self) -> None:
        self._chunks: dict[bytes, list[TargetChunk]] = {}
        self._lock = threading.Lock()

    def add(self, *chunks: TargetChunk) -> None:
        """Note what is lacking."""
        with self._lock:
            for chunk in chunks:
                self._chunks.setdefault(chunk.identifier, []).append(chunk)

    def take(self, identifier: bytes) -> list[TargetChunk]:
        """Return the chunks with an id, which are wanted no longer."""
        with self._lock:
            return self._chunks.pop(identifier, [])

    def ids(self) -> KeysView[bytes]:
        """Return the ids of what is wanted at any moment."""
        return self._chunks.keys()

    def chunks(self) -> list[TargetChunk]:
        """Return what is wanted now."""
        return [chunk for chunks in self._chunks.values() for chunk in chunks]


class Filler:
    """Writes chunks to a disk. Threads share it.

    :param interim: What makes a disk that is written only in part neither boot nor look whole.
    :param image: The image's name, for messages.
    """

    def __init__(self, device: Device, interim: Sequence[Piece], image: str) -> None:
        self._device = device
        self._interim = interim
        self._image = image
        self._lock = threading.Lock()
        self.started = False
        self.written: list[TargetChunk] = []
        self.bytes_written = 0

    def start(self) -> None:
        """Before the first write, invalidate the disk; nothing happens when that was done."""
        with self._lock:
            if self.started:
                return
            for offset, data in self._interim:
                self._device.write(offset, data)
            self._device.sync()
            self.started = True

    def fill(self, chunk: TargetChunk, data: memoryview) -> None:
        """Write what is used of a chunk.

        :raises DamagedError: The index calls free what is not.
        """
        if not chunk.is_free_empty(data):
            raise self.damaged_index(chunk)
        self.start()
        device, base = chunk.where(self._device)
        count = 0
        for offset, size in chunk.used():
            device.write(base + offset, data[offset - chunk.start : offset - chunk.start + size])
            count += size
        with self._lock:
            self.written.append(chunk)
            self.bytes_written += count

    def damaged_index(self, chunk: TargetChunk) -> DamagedError:
        """Return the error for bytes that the index calls free, and the chunk does not."""
        return DamagedError(
            f"the index of {self._image} is damaged: bytes are said to be free which chunk {chunk.number} of partition"
            f" {chunk.target.region.number} holds. Restore it from a copy of the store, or capture the master again"
        )

    def read_back(self, meter: Meter) -> None:
        """Compare what was written with what the disk holds; what is still in memory is left out.

        :raises ImagingError: The disk does not hold it.
        """
        chunks = [chunk for chunk in self.written if chunk.on_disk]
        meter.start("verifying", sum(chunk.length for chunk in chunks))
        with DirectReader(self._device.path) as reader:

            def check(chunk: TargetChunk) -> None:
                start = chunk.target.place.start
                if not chunk.is_held(reader, start):
                    raise ImagingError(
                        f"{self._device.path} does not hold what was written to it: partition {chunk.target.region.number},"
                        f" chunk {chunk.number}, at byte {start + chunk.start}. Disk, cable or memory is failing;"
                        " it has no partition table now"
                    )
                meter.add(chunk.length)

            each(chunks, check, threads())
