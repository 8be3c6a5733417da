# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deploy an image to a disk, in two passes: compare, which gives what is wanted; and fill, which fetches, checks and writes that.

What was written is read back, and only then the partition table is written. Without a feed both passes go on at the same time, so
that the disk is read while the network is waited for.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import ReadError
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import used_now
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.filling import Filler, Wanted
from ansible_collections.reimage.lab.plugins.module_utils.imaging.free_space import FreeSpace, Leftover
from ansible_collections.reimage.lab.plugins.module_utils.imaging.hashing import (
    HAS_BLAKE3,
    blake3,
    sha256,
)
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.last_look import look, refuse_bad_table
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import AUTO, Layout, Place, moved, plan
from ansible_collections.reimage.lab.plugins.module_utils.imaging.overlay import full_size_view
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Callback, Meter
from ansible_collections.reimage.lab.plugins.module_utils.imaging.resize_note import ResizeNote, fingerprint
from ansible_collections.reimage.lab.plugins.module_utils.imaging.resizing import resize
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_blake3, read_ids
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.feed import Feed
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.fetch import Fetcher
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources
from ansible_collections.reimage.lab.plugins.module_utils.imaging.target_partition import TargetChunk, TargetPartition
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each, threads


@dataclass
class Result:
    """What a deploy did, or in a dry run would do. Bytes, and seconds.

    I(bytes_fetched) came from the stores, I(bytes_fed) from the feed, both packed.
    I(differing) lists partition number, chunk number, and offset on the disk of what a dry run found to differ; I(warnings) what
    a person should know. I(leftovers) are the signatures of an earlier life of the disk that were in free space, or still are
    after a dry run; I(complaints) what other tools said in a dry run of a disk that holds the image.
    """

    changed: bool = False
    bytes_fetched: int = 0
    bytes_fed: int = 0
    bytes_written: int = 0
    chunks_changed: int = 0
    seconds: float = 0.0
    table_differs: bool = False
    resized: list[int] = field(default_factory=list)
    differing: list[tuple[int, int, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    leftovers: list[Leftover] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def deploy(
    sources: Sources,
    index: Index,
    disk: str,
    *,
    feed: Feed | None = None,
    verify: bool = True,
    dry_run: bool = False,
    grow: str = AUTO,
    preserve: Sequence[str] = (),
    discard: bool = False,
    callback: Callback | None = None,
) -> Result:
    """Make I(disk) hold an image, writing only what differs.

    :param feed: What offers chunks in its own order; what it left out comes from I(sources).
    :param verify: Read back, past the page cache, what was written.
    :param dry_run: Only compare; C(differing) then says what differs where.
    :param grow: See C(layout.plan).
    :param preserve: See C(layout.plan).
    :param discard: Tell the disk which of its blocks are free, if anything was written.
    :raises ImagingError: Image and disk do not fit (nothing was written then), or something could not be fetched,
        written or verified (the disk then has no partition table; run it again).
    """
    began = time.monotonic()
    with Device(disk, write=not dry_run) as device:
        layout = plan(index, device, grow, preserve)
        refuse_bad_table(index, layout, device)
        device.sync()
        work = _Deploy(sources, index, device, layout, dry_run, Meter(index.image, callback))
        result = work.run(feed, verify)
        if discard and result.changed and not dry_run:
            work.discard()
    result.seconds = time.monotonic() - began
    return result


class _Deploy:
    def __init__(self, sources: Sources, index: Index, device: Device, layout: Layout, dry_run: bool, meter: Meter) -> None:
        self._sources = sources
        self._index = index
        self._device = device
        self._layout = layout
        self._dry_run = dry_run
        self._meter = meter
        self._resize_note = ResizeNote(index, layout)
        self._fetcher = Fetcher(sources, index.image)
        self._filler = Filler(device, layout.interim, index.image)
        self._result = Result(warnings=layout.warnings)

    def run(self, feed: Feed | None, verify: bool) -> Result:
        result = self._result
        with self._targets() as targets:
            resized = [target for target in targets if target.place.resized]
            result.resized = [target.region.number for target in resized]
            if self._dry_run:
                self._note(self._compare(targets))
                result.table_differs = not self._has_table()
                result.leftovers = FreeSpace(self._device, self._layout, [target.place for target in resized]).leftovers()
                result.changed = bool(result.differing or resized or result.table_differs or result.leftovers)
                if not result.changed:
                    result.complaints = look(self._device, self._layout.places)
                return result
            if feed:
                self._fill(self._compare(targets), feed)
            else:
                self._compare_and_fill(targets)
            result.table_differs = not self._has_table()
            if self._filler.written:
                self._device.sync()
                if verify:
                    self._filler.read_back(self._meter)
            for target in resized:
                self._resize(target, verify)
        self._look_last({*result.resized, *(chunk.target.region.number for chunk in self._filler.written)})
        if self._filler.started or result.table_differs:
            self._write_table(resized)
            result.changed = True
        result.changed = result.changed or bool(result.leftovers)
        result.chunks_changed = len(self._filler.written)
        result.bytes_written += self._filler.bytes_written
        result.bytes_fetched = self._fetcher.bytes_fetched
        return result

    def discard(self) -> None:
        """Tell the disk which of its blocks are free."""
        for place in self._layout.places:
            region = moved(place)
            extents = region.extents
            if place.resized:
                extents = used_now(self._device.path, place.start, place.size, region.filesystem, self._device.sector_size)
            for offset, length in extents.free(place.size):
                self._device.discard(place.start + offset, length)

    @contextmanager
    def _targets(self) -> Iterator[list[TargetPartition]]:
        """Read all that is known of the partitions, and refuse all that can be refused: nothing was written yet."""
        with ExitStack() as views:
            places = [place for place in self._layout.places if not self._is_resized_copy(place)]
            yield [self._target(views, place) for place in places]

    def _target(self, views: ExitStack, place: Place) -> TargetPartition:
        region, view = place.region, None
        ids = self._sources.first(lambda store: read_ids(store, self._index, place.region))
        fast = self._sources.first(lambda store: read_blake3(store, self._index, place.region)) if HAS_BLAKE3 else None
        if place.resized and not self._dry_run:
            filesystem(region.filesystem).require_programs("resize")
        if place.size < region.size:
            if self._dry_run:
                region = moved(place)
            else:
                view = views.enter_context(full_size_view(self._device, place))
        return TargetPartition(region, place, view, ids, fast or ids, blake3 if fast else sha256)

    def _compare(self, targets: Sequence[TargetPartition]) -> Wanted:
        """Return what the disk lacks."""
        wanted = Wanted()

        def compare(chunk: TargetChunk) -> None:
            if self._is_wanted(chunk):
                wanted.add(chunk)
            self._meter.add(chunk.used_bytes)

        self._meter.start("comparing", _used(targets))
        each(_chunks(targets), compare, threads())
        return wanted

    def _fill(self, wanted: Wanted, feed: Feed) -> None:
        """Write what is wanted: what the feed offers of it, then the rest."""

        def take(offer: tuple[bytes, bytes]) -> None:
            identifier, packed = offer
            for chunk in wanted.take(identifier):
                try:
                    data = self._fetcher.unpack(packed, chunk.length, chunk.target.digest, chunk.hash)
                except DamagedError:
                    wanted.add(chunk)  # another one may come, or a store has it
                    continue
                self._filler.fill(chunk, memoryview(data))
                self._meter.add(chunk.used_bytes)

        self._meter.start("writing", sum(chunk.used_bytes for chunk in wanted.chunks()))
        each(self._offered(feed, wanted), take, threads())
        each(wanted.chunks(), self._fill_from_stores, threads())

    def _offered(self, feed: Feed, wanted: Wanted) -> Iterator[tuple[bytes, bytes]]:
        """Yield what the feed offers while anything is wanted."""
        if not wanted.ids():
            return
        try:
            for offer in feed.offered(wanted.ids()):
                self._result.bytes_fed += len(offer[1])
                yield offer
                if not wanted.ids():
                    return
        except ImagingError as error:
            self._result.warnings.append(f"what the feed did not bring comes from the store: {error}")

    def _compare_and_fill(self, targets: Sequence[TargetPartition]) -> None:
        def work(chunk: TargetChunk) -> None:
            if self._is_wanted(chunk):
                self._fill_from_stores(chunk)
            else:
                self._meter.add(chunk.used_bytes)

        self._meter.start("writing", _used(targets))
        each(_chunks(targets), work, threads())

    def _is_wanted(self, chunk: TargetChunk) -> bool:
        """Whether the disk lacks a chunk."""
        if chunk.used_bytes:
            return not chunk.is_held(*chunk.where(self._device))
        if chunk.identifier != chunk.free_id:
            raise self._filler.damaged_index(chunk)
        return False

    def _fill_from_stores(self, chunk: TargetChunk) -> None:
        data = self._fetcher.get(chunk.identifier, chunk.length, chunk.target.digest, chunk.hash)
        self._filler.fill(chunk, memoryview(data))
        self._meter.add(chunk.used_bytes)

    def _note(self, wanted: Wanted) -> None:
        chunks = wanted.chunks()
        self._result.chunks_changed = len(chunks)
        self._result.differing = [
            (chunk.target.region.number, chunk.number, chunk.target.place.start + chunk.start) for chunk in chunks
        ]

    def _resize(self, target: TargetPartition, verify: bool) -> None:
        self._meter.start(f"resizing partition {target.region.number}", 0)
        self._filler.start()
        resize(self._device, target.place, target.view, verify)

    def _look_last(self, written: set[int]) -> None:
        """Have other software accept the disk.

        :param written: The partitions that were.
        :raises ImagingError: It does not.
        """
        self._device.sync()
        self._result.leftovers, count = FreeSpace(self._device, self._layout).clear()
        self._result.bytes_written += count
        complaints = look(self._device, self._layout.places, written)
        if complaints:
            state = "It has no partition table now. " if self._filler.started else ""
            raise ImagingError(
                f"{complaints[0]}. Yet the disk holds what {self._index.image} says. {state}Capture the master again, with the"
                " newest version of this collection"
            )

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
        self._result.bytes_written += sum(len(data) for _offset, data in pieces)
        if not self._has_table():
            raise ImagingError(
                f"{self._device.path} does not hold the partition table that was written to it: the disk is failing"
            )
        self._device.reread_table()


def _chunks(targets: Sequence[TargetPartition]) -> Iterator[TargetChunk]:
    return chain.from_iterable(target.chunks() for target in targets)


def _used(targets: Sequence[TargetPartition]) -> int:
    return sum(target.region.extents.total for target in targets)
