# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deploy an image to a disk: compare, fetch what differs, check it, write it, read it back, and only then the table."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, DirectReader
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import ReadError
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import used_now
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.hashing import (
    HAS_BLAKE3,
    blake3,
    sha256,
)
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import AUTO, Layout, Place, moved, plan
from ansible_collections.reimage.lab.plugins.module_utils.imaging.overlay import full_size_view
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Callback, Meter
from ansible_collections.reimage.lab.plugins.module_utils.imaging.resize_note import ResizeNote, fingerprint
from ansible_collections.reimage.lab.plugins.module_utils.imaging.resizing import resize
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_blake3, read_ids
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.fetch import Fetcher
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources
from ansible_collections.reimage.lab.plugins.module_utils.imaging.target_partition import TargetChunk, TargetPartition
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each, threads


@dataclass
class Result:
    """What a deploy did, or in a dry run would do. Bytes, and seconds.

    I(differing) lists partition number, chunk number, and offset on the disk of what a dry run found to differ; I(warnings) what
    a person should know.
    """

    changed: bool = False
    bytes_fetched: int = 0
    bytes_written: int = 0
    chunks_changed: int = 0
    seconds: float = 0.0
    table_differs: bool = False
    resized: list[int] = field(default_factory=list)
    differing: list[tuple[int, int, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def deploy(
    store: Store,
    index: Index,
    disk: str,
    *,
    verify: bool = True,
    dry_run: bool = False,
    grow: str = AUTO,
    preserve: Sequence[str] = (),
    discard: bool = False,
    mirrors: Sequence[Store] = (),
    callback: Callback | None = None,
) -> Result:
    """Make I(disk) hold an image, writing only what differs.

    :param verify: Read back, past the page cache, what was written.
    :param dry_run: Only compare; C(differing) then says what differs where.
    :param grow: See C(layout.plan).
    :param preserve: See C(layout.plan).
    :param discard: Tell the disk which of its blocks are free, if anything was written.
    :param mirrors: Where to fetch what is damaged or missing in I(store), or all if that does not answer.
    :raises ImagingError: Image and disk do not fit (nothing was written then), or something could not be fetched,
        written or verified (the disk then has no partition table; run it again).
    """
    began = time.monotonic()
    with Device(disk, write=not dry_run) as device:
        layout = plan(index, device, grow, preserve)
        device.sync()
        sources = Sources([store, *mirrors])
        fetcher = Fetcher(sources, index.image)
        with ExitStack() as stack:
            work = _Deploy(sources, index, device, layout, fetcher, dry_run, Meter(index.image, callback))
            work.run(stack, verify)
        if discard and work.result.changed and not dry_run:
            work.discard()
    result = work.result
    result.bytes_fetched = fetcher.bytes_fetched
    result.seconds = time.monotonic() - began
    return result


class _Deploy:
    def __init__(
        self,
        sources: Sources,
        index: Index,
        device: Device,
        layout: Layout,
        fetcher: Fetcher,
        dry_run: bool,
        meter: Meter,
    ) -> None:
        self._sources = sources
        self._index = index
        self._device = device
        self._layout = layout
        self._fetcher = fetcher
        self._dry_run = dry_run
        self._meter = meter
        self._resize_note = ResizeNote(index, layout)
        self._lock = threading.Lock()
        self._invalid = False
        self._written: list[TargetChunk] = []
        self.result = Result(warnings=layout.warnings)

    def run(self, stack: ExitStack, verify: bool) -> None:
        places = [place for place in self._layout.places if not self._is_resized_copy(place)]
        targets = [self._target(stack, place) for place in places]
        stage = "comparing" if self._dry_run else "writing"
        self._meter.start(stage, sum(target.region.extents.total for target in targets))
        each(chain.from_iterable(target.chunks() for target in targets), self._compare, threads())
        resize = [target for target in targets if target.place.resized]
        self.result.resized = [target.region.number for target in resize]
        self.result.table_differs = not self._has_table()
        if self._dry_run:
            self.result.changed = bool(self.result.differing or resize or self.result.table_differs)
            return
        if self._written:
            self._device.sync()
            if verify:
                self._read_back()
        for target in resize:
            self._resize(target, verify)
        stack.close()
        if self._invalid or self.result.table_differs:
            self._write_table(resize)

    def discard(self) -> None:
        """Tell the disk which of its blocks are free."""
        for place in self._layout.places:
            region = moved(place)
            extents = region.extents
            if place.resized:
                extents = used_now(self._device.path, place.start, place.size, region.filesystem, self._device.sector_size)
            for offset, length in extents.free(place.size):
                self._device.discard(place.start + offset, length)

    def _target(self, stack: ExitStack, place: Place) -> TargetPartition:
        """Read all that is known of a partition, and refuse all that can be refused: nothing was written yet."""
        region, view = place.region, None
        ids = self._sources.first(lambda store: read_ids(store, self._index, place.region))
        fast = self._sources.first(lambda store: read_blake3(store, self._index, place.region)) if HAS_BLAKE3 else None
        if place.resized and not self._dry_run:
            filesystem(region.filesystem).require_programs("resize")
        if place.size < region.size:
            if self._dry_run:
                region = moved(place)
            else:
                view = stack.enter_context(full_size_view(self._device, place))
        return TargetPartition(region, place, view, ids, fast or ids, blake3 if fast else sha256)

    def _compare(self, chunk: TargetChunk) -> None:
        used = sum(count for _offset, count in chunk.used())
        if not used:
            if chunk.target.ids[chunk.number] != chunk.free_id:
                raise self._damaged_index(chunk)
            return
        if not chunk.is_held(*chunk.where(self._device)):
            if self._dry_run:
                self._note(chunk)
            else:
                self._replace(chunk)
        self._meter.add(used)

    def _note(self, chunk: TargetChunk) -> None:
        target = chunk.target
        with self._lock:
            self.result.differing.append((target.region.number, chunk.number, target.place.start + chunk.start))
            self.result.chunks_changed += 1

    def _replace(self, chunk: TargetChunk) -> None:
        target = chunk.target
        identifier = target.ids[chunk.number]
        data = memoryview(self._fetcher.get(identifier, chunk.length, target.digest, target.hashes[chunk.number]))
        if not chunk.is_free_empty(data):
            raise self._damaged_index(chunk)
        self._invalidate()
        device, base = chunk.where(self._device)
        count = 0
        for offset, size in chunk.used():
            device.write(base + offset, data[offset - chunk.start : offset - chunk.start + size])
            count += size
        with self._lock:
            self._written.append(chunk)
            self.result.changed = True
            self.result.chunks_changed += 1
            self.result.bytes_written += count

    def _damaged_index(self, chunk: TargetChunk) -> DamagedError:
        return DamagedError(
            f"the index of {self._index.image} is damaged: bytes are said to be free which chunk {chunk.number} of partition"
            f" {chunk.target.region.number} holds. Restore it from a copy of the store, or capture the master again"
        )

    def _invalidate(self) -> None:
        """Before the first write, make sure that a disk written only in part neither boots nor looks whole."""
        with self._lock:
            if self._invalid:
                return
            for offset, data in self._layout.interim:
                self._device.write(offset, data)
            self._device.sync()
            self._invalid = True

    def _read_back(self) -> None:
        """Compare what was written with what the disk holds; what is still in memory is left out."""
        chunks = [chunk for chunk in self._written if chunk.on_disk]
        self._meter.start("verifying", sum(chunk.length for chunk in chunks))
        with DirectReader(self._device.path) as reader:

            def check(chunk: TargetChunk) -> None:
                start = chunk.target.place.start
                if not chunk.is_held(reader, start):
                    raise ImagingError(
                        f"{self._device.path} does not hold what was written to it: partition {chunk.target.region.number},"
                        f" chunk {chunk.number}, at byte {start + chunk.start}. Disk, cable or memory is failing;"
                        " it has no partition table now"
                    )
                self._meter.add(chunk.length)

            each(chunks, check, threads())

    def _resize(self, target: TargetPartition, verify: bool) -> None:
        self._meter.start(f"resizing partition {target.region.number}", 0)
        self._invalidate()
        resize(self._device, target.place, target.view, verify)
        self.result.changed = True

    def _is_resized_copy(self, place: Place) -> bool:
        """Whether a partition is what an earlier deploy made of the same image for the same layout."""
        noted = self._resize_note.fingerprint_on(self._device, place) if place.resized else ""
        if not noted:
            return False
        self._meter.start(f"comparing partition {place.region.number}", 0)
        try:
            return noted == fingerprint(self._device, place)
        except ReimageError:
            # What cannot be read, or is no filesystem any more, is not a copy.
            return False

    def _has_table(self) -> bool:
        try:
            return all(
                self._device.read(offset, len(data)) == data for offset, data in self._resize_note.comparable(self._device)
            )
        except ReadError:
            return False

    def _write_table(self, resized: list[TargetPartition]) -> None:
        self._device.sync()
        pieces = self._resize_note.complete(self._device, [target.place for target in resized])
        # Everything but the first sector first: with it alone the disk begins to be bootable.
        (_zero, head), sector = pieces[0], self._device.sector_size
        for offset, data in [*pieces[1:], (sector, head[sector:])]:
            self._device.write(offset, data)
        self._device.sync()
        self._device.write(0, head[:sector])
        self._device.sync()
        self.result.changed = True
        self.result.bytes_written += sum(len(data) for _offset, data in pieces)
        if not self._has_table():
            raise ImagingError(
                f"{self._device.path} does not hold the partition table that was written to it: the disk is failing"
            )
        self._device.reread_table()
