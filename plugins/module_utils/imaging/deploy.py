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
from typing import Iterator, NamedTuple, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk import filesystems
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, DirectReader, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import used_now
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE, Ids
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.fetch import Fetcher
from ansible_collections.reimage.lab.plugins.module_utils.imaging.hashing import (
    HAS_BLAKE3,
    Digest,
    blake3,
    sha256,
)
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index, Region
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import AUTO, Layout, Place, moved, plan
from ansible_collections.reimage.lab.plugins.module_utils.imaging.longer import longer, shrink
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Callback, Meter
from ansible_collections.reimage.lab.plugins.module_utils.imaging.record import Record, fingerprint
from ansible_collections.reimage.lab.plugins.module_utils.imaging.sources import Sources
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store import Reader, read_blake3, read_ids
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each, threads


@dataclass
class Result:
    """What a deploy did, or in a dry run would do. Bytes, and seconds.

    I(differing) lists partition number, chunk number, and offset on the disk of what a dry run found to differ.
    """

    changed: bool = False
    bytes_fetched: int = 0
    bytes_written: int = 0
    chunks_changed: int = 0
    seconds: float = 0.0
    table_differs: bool = False
    resized: list[int] = field(default_factory=list)
    differing: list[tuple[int, int, int]] = field(default_factory=list)


class _Target(NamedTuple):
    """A partition to write: the image's region, where it goes, and how to recognise its chunks.

    I(view) is the partition in the image's size, if the disk has less room for it.
    """

    region: Region
    place: Place
    view: Device | None
    ids: Ids
    hashes: Ids
    digest: Digest


class _Item(NamedTuple):
    target: _Target
    number: int


def deploy(
    store: Reader,
    index: Index,
    disk: str,
    *,
    verify: bool = True,
    dry_run: bool = False,
    grow: str = AUTO,
    preserve: Sequence[str] = (),
    discard: bool = False,
    mirrors: Sequence[Reader] = (),
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
        self._record = Record(index, layout)
        self._lock = threading.Lock()
        self._invalid = False
        self._written: list[_Item] = []
        self.result = Result()

    def run(self, stack: ExitStack, verify: bool) -> None:
        places = [place for place in self._layout.places if not self._is_resized_copy(place)]
        targets = [self._target(stack, place) for place in places]
        stage = "comparing" if self._dry_run else "writing"
        self._meter.start(stage, sum(target.region.extents.total for target in targets))
        each(chain.from_iterable(map(self._items, targets)), self._compare, threads())
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
            self._resize(target)
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

    def _target(self, stack: ExitStack, place: Place) -> _Target:
        region, view = place.region, None
        if place.size < region.size:
            if self._dry_run:
                region = moved(place)
            else:
                self._invalidate()
                view = stack.enter_context(longer(self._device, place))
        ids = self._sources.first(lambda store: read_ids(store, self._index, place.region))
        fast = self._sources.first(lambda store: read_blake3(store, self._index, place.region)) if HAS_BLAKE3 else None
        return _Target(region, place, view, ids, fast or ids, blake3 if fast else sha256)

    def _where(self, target: _Target, end: int) -> tuple[Device, int]:
        """Return the device that holds the bytes of a partition up to I(end), and where it begins there."""
        if target.view and end > target.place.size:
            return target.view, 0
        return self._device, target.place.start

    def _items(self, target: _Target) -> Iterator[_Item]:
        return (_Item(target, number) for number in range(target.region.chunks))

    def _compare(self, item: _Item) -> None:
        target = item.target
        start, length = _span(item)
        used = sum(count for _offset, count in target.region.extents.within(start, start + length))
        if not used:
            return
        device, base = self._where(target, start + length)
        held = device.read_used(start, length, target.region.extents, base)
        if target.digest(held) != target.hashes[item.number]:
            if self._dry_run:
                with self._lock:
                    self.result.differing.append((target.region.number, item.number, base + start))
                    self.result.chunks_changed += 1
            else:
                self._replace(item)
        self._meter.add(used)

    def _replace(self, item: _Item) -> None:
        target = item.target
        start, length = _span(item)
        identifier = target.ids[item.number]
        data = memoryview(self._fetcher.get(identifier, length, target.digest, target.hashes[item.number]))
        self._invalidate()
        device, base = self._where(target, start + length)
        count = 0
        for offset, size in target.region.extents.within(start, start + length):
            device.write(base + offset, data[offset - start : offset - start + size])
            count += size
        with self._lock:
            self._written.append(item)
            self.result.changed = True
            self.result.chunks_changed += 1
            self.result.bytes_written += count

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
        items = [item for item in self._written if self._where(item.target, sum(_span(item)))[0] is self._device]
        self._meter.start("verifying", sum(_span(item)[1] for item in items))
        with DirectReader(self._device.path) as reader:

            def check(item: _Item) -> None:
                target = item.target
                start, length = _span(item)
                held = reader.read_used(start, length, target.region.extents, target.place.start)
                if target.digest(held) != target.hashes[item.number]:
                    raise ImagingError(
                        f"{self._device.path} does not hold what was written to it: partition {target.region.number},"
                        f" chunk {item.number}, at byte {target.place.start + start}. Disk, cable or memory is failing;"
                        " it has no partition table now"
                    )
                self._meter.add(length)

            each(items, check, threads())

    def _resize(self, target: _Target) -> None:
        place = target.place
        self._meter.start(f"resizing partition {place.region.number}", 0)
        self._invalidate()
        if target.view:
            shrink(target.view, self._device, place)
        else:
            path, sector = self._device.path, self._device.sector_size
            with loop_device(path, place.start, place.size, sector, write=True) as loop:
                filesystems.resize(loop, place.region.filesystem, place.size)
        self.result.changed = True

    def _is_resized_copy(self, place: Place) -> bool:
        """Whether a partition is what an earlier deploy made of the same image for the same layout."""
        noted = self._record.fingerprint_on(self._device, place) if place.resized else ""
        if not noted:
            return False
        self._meter.start(f"comparing partition {place.region.number}", 0)
        return noted == fingerprint(self._device, place)

    def _has_table(self) -> bool:
        return all(self._device.read(offset, len(data)) == data for offset, data in self._record.comparable(self._device))

    def _write_table(self, resized: list[_Target]) -> None:
        self._device.sync()
        pieces = self._record.complete(self._device, [target.place for target in resized])
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


def _span(item: _Item) -> tuple[int, int]:
    start = item.number * CHUNK_SIZE
    return start, min(CHUNK_SIZE, item.target.region.size - start)
