# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deploy an image to a disk: compare, fetch what differs, check it, write it, read it back, and only then the table."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field
from itertools import chain
from typing import Iterator, Tuple

from ansible_collections.reimage.lab.plugins.module_utils.imaging import caibx
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.device import Device, DirectReader
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.gpt import Table, retarget, smallest_disk
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index, Region
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Callback, Meter
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store import Reader, chunk_path, read_table
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each, threads
from ansible_collections.reimage.lab.plugins.module_utils.imaging.zstd import Codec, DamagedError

_TRIES = 3
# What makes a disk bootable or partitioned at its beginning and its end; gone before the first partition is written.
_LABEL_SECTORS = 34

Item = Tuple[Region, int, bytes]


@dataclass
class Result:
    """What a deploy did, or in a dry run would do. Bytes, and seconds."""

    changed: bool = False
    bytes_fetched: int = 0
    bytes_written: int = 0
    chunks_changed: int = 0
    seconds: float = 0.0
    differing: list[tuple[int, int]] = field(default_factory=list)


def deploy(
    store: Reader,
    index: Index,
    disk: str,
    *,
    verify: bool = True,
    dry_run: bool = False,
    callback: Callback | None = None,
) -> Result:
    """Make I(disk) hold an image, writing only what differs.

    :param verify: Read back, past the page cache, what was written.
    :param dry_run: Only compare; C(differing) then lists partition number and chunk number of what differs.
    :raises ImagingError: Image and disk do not fit (nothing was written then), or something could not be fetched,
        written or verified (the disk then has no partition table; run it again).
    """
    began = time.monotonic()
    with Device(disk, write=not dry_run) as device:
        table = _fit(index, device)
        tables = {
            region.number: caibx.decode(read_table(store, index, region.file, region.caibx_sha256), region.size, region.file)
            for region in index.partitions
        }
        work = _Deploy(store, index, device, table, tables, dry_run, Meter(index.image, callback))
        work.run(verify)
        result = work.result
    result.seconds = time.monotonic() - began
    return result


def _fit(index: Index, device: Device) -> Table:
    if index.sector_size != device.sector_size:
        raise ImagingError(
            f"{index.image} is of a disk with sectors of {index.sector_size} bytes, and {device.path} has"
            f" {device.sector_size}: its partitions and filesystems would not be found"
        )
    needed = smallest_disk(index.head, index.label, index.sector_size, index.end)
    if device.size < needed:
        raise ImagingError(f"{device.path} is too small: {index.image} needs {needed} bytes, and it has {device.size}")
    if index.label == "gpt":
        return retarget(index.head, device.size, device.sector_size)
    return Table(index.head, b"")


class _Deploy:
    def __init__(
        self,
        store: Reader,
        index: Index,
        device: Device,
        table: Table,
        tables: dict[int, list[bytes]],
        dry_run: bool,
        meter: Meter,
    ) -> None:
        self._store = store
        self._index = index
        self._device = device
        self._table = table
        self._tables = tables
        self._dry_run = dry_run
        self._meter = meter
        self._codec = Codec()
        self._lock = threading.Lock()
        self._invalid = False
        self._written: list[Item] = []
        self.result = Result()

    def run(self, verify: bool) -> None:
        self._meter.start("writing", sum(region.extents.total for region in self._index.partitions))
        each(chain.from_iterable(map(self._items, self._index.partitions)), self._compare, threads())
        if self._dry_run:
            self.result.changed = bool(self.result.differing) or not self._has_table()
            return
        if self._written:
            self._device.sync()
            if verify:
                self._read_back()
        self._write_table()

    def _items(self, region: Region) -> Iterator[Item]:
        return ((region, number, identifier) for number, identifier in enumerate(self._tables[region.number]))

    def _span(self, item: Item) -> tuple[int, int]:
        start = item[1] * CHUNK_SIZE
        return start, min(CHUNK_SIZE, item[0].size - start)

    def _compare(self, item: Item) -> None:
        region, number, identifier = item
        start, length = self._span(item)
        used = list(region.extents.within(start, start + length))
        if not used:
            return
        held = self._device.read_used(start, length, region.extents, region.start)
        if hashlib.sha256(held).digest() != identifier:
            if self._dry_run:
                with self._lock:
                    self.result.differing.append((region.number, number))
                    self.result.chunks_changed += 1
            else:
                self._replace(item)
        self._meter.add(sum(count for _offset, count in used))

    def _replace(self, item: Item) -> None:
        region = item[0]
        start, length = self._span(item)
        data = memoryview(self._fetch(item[2], length))
        self._invalidate()
        count = 0
        for offset, size in region.extents.within(start, start + length):
            self._device.write(region.start + offset, data[offset - start : offset - start + size])
            count += size
        with self._lock:
            self._written.append(item)
            self.result.changed = True
            self.result.chunks_changed += 1
            self.result.bytes_written += count

    def _fetch(self, identifier: bytes, length: int) -> bytes:
        """Return a chunk whose content is what its id says. A damaged one is fetched again, and never written."""
        reason = ""
        path = chunk_path(identifier)
        for _attempt in range(_TRIES):
            try:
                packed = self._store.get(path)
                data = self._codec.decompress(packed, CHUNK_SIZE)
            except FileNotFoundError:
                reason = "it is missing"
                break
            except DamagedError as error:
                reason = str(error)
                continue
            if len(data) == length and hashlib.sha256(data).digest() == identifier:
                with self._lock:
                    self.result.bytes_fetched += len(packed)
                return data
            reason = "its content is not what its name says"
        raise ImagingError(
            f"chunk {identifier.hex()} of {self._index.image} cannot be had from {self._store.where}: {reason}."
            " Nothing wrong was written; restore the chunk, or capture the image again"
        )

    def _invalidate(self) -> None:
        """Before the first write, make sure that a disk written only in part neither boots nor looks whole."""
        with self._lock:
            if self._invalid:
                return
            size = _LABEL_SECTORS * self._device.sector_size
            self._device.write(0, bytes(size))
            self._device.write(self._device.size - size, bytes(size))
            self._device.sync()
            self._invalid = True

    def _read_back(self) -> None:
        self._meter.start("verifying", sum(self._span(item)[1] for item in self._written))
        with DirectReader(self._device.path) as reader:

            def check(item: Item) -> None:
                region, number, identifier = item
                start, length = self._span(item)
                held = reader.read_used(start, length, region.extents, region.start)
                if hashlib.sha256(held).digest() != identifier:
                    raise ImagingError(
                        f"{self._device.path} does not hold what was written to it: partition {region.number},"
                        f" chunk {number}, at byte {region.start + start}. Disk, cable or memory is failing;"
                        " it has no partition table now"
                    )
                self._meter.add(length)

            each(self._written, check, threads())

    def _has_table(self) -> bool:
        head, tail = self._table.head, self._table.tail
        return self._device.read(0, len(head)) == head and self._device.read(self._device.size - len(tail), len(tail)) == tail

    def _write_table(self) -> None:
        if self._has_table():
            return
        head, tail = self._table.head, self._table.tail
        if tail:
            self._device.write(self._device.size - len(tail), tail)
        # Everything behind the first sector first: with it alone the disk begins to be bootable.
        sector = self._device.sector_size
        self._device.write(sector, head[sector:])
        self._device.sync()
        self._device.write(0, head[:sector])
        self._device.sync()
        self.result.changed = True
        self.result.bytes_written += len(head) + len(tail)
        if not self._has_table():
            raise ImagingError(
                f"{self._device.path} does not hold the partition table that was written to it: the disk is failing"
            )
        self._device.reread_table()
