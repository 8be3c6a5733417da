# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Capture a disk into a store: one pass over its used bytes, straight into chunks, never writing to the disk."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import chain
from typing import Iterator, Sequence, Tuple

from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.imaging import caibx
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE, Ids, chunk_bounds
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError, MissingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.hashing import HAS_BLAKE3, ZEROS, blake3, sha256, zeros_sha256
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index, Region, refuse_too_many_extents
from ansible_collections.reimage.lab.plugins.module_utils.imaging.probe import measure_limits, probe
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Callback, Meter
from ansible_collections.reimage.lab.plugins.module_utils.imaging.rehearsal import rehearse
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_blake3, read_ids, read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import LATEST, check_name
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each, threads
from ansible_collections.reimage.lab.plugins.module_utils.imaging.zstd import Codec

Item = Tuple[Region, int]


@dataclass
class Captured:
    """What a capture did."""

    index: Index
    chunks_new: int
    bytes_new: int
    seconds: float
    warnings: list[str]


def new_version() -> str:
    """Return the default version: the UTC time."""
    return datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def capture(
    store: PathStore,
    disk: str,
    name: str,
    version: str = "",
    *,
    level: int = 3,
    description: str = "",
    accept: Sequence[str] = (),
    dry_run: bool = False,
    callback: Callback | None = None,
) -> Captured:
    """Capture I(disk) as image I(name).

    :param version: By default the UTC time.
    :param level: zstd's compression level, 1 to 19.
    :param accept: States of filesystems that are refused otherwise, C(dirty) and C(hibernated).
    :param dry_run: Only look whether it can be captured, and what of it is used.
    :raises ImagingError: The version exists, the disk cannot be captured, or the store cannot be written.
    """
    began = time.monotonic()
    version = check_name("version", version or new_version())
    check_name("image name", name)
    store.refuse_version(name, version)
    with Device(disk) as device:
        meter = Meter(f"{name}/{version}", callback)
        meter.start("reading the filesystems", 0)
        found = probe(device, accept)
        refuse_too_many_extents(found.regions, disk)
        index = Index(
            name=name,
            version=version,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            description=description,
            disk_size=device.size,
            sector_size=device.sector_size,
            label=found.label,
            head=found.head,
            links=found.links,
            partitions=found.regions,
            bytes_used=sum(region.extents.total for region in found.regions),
            chunks_total=sum(region.chunks for region in found.regions),
        )
        rehearse(index, device)
        writer = _Writer(store, device, found.regions, level, meter, _Last.read(store, name))
        if not dry_run:
            with ThreadPoolExecutor(1) as beside:
                measured = beside.submit(measure_limits, device, found.regions)
                writer.run()
                measured.result()
            index.bytes_stored = sum(writer.stored.values())
            store.publish(index, writer.tables())
    return Captured(index, writer.chunks_new, writer.bytes_new, time.monotonic() - began, found.warnings)


@dataclass
class _Last:
    """The chunks of the image's last version: all ids, and ids by BLAKE3, which is made many times faster than an id."""

    ids: set[bytes] = field(default_factory=set)
    by_blake3: dict[bytes, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, store: PathStore, name: str) -> _Last:
        """Read them from the store; nothing is lost if that version cannot be read."""
        last = cls()
        if not store.versions(name):
            return last
        try:
            index = read_index(store, name, LATEST)[0]
            for region in index.partitions:
                ids = list(read_ids(store, index, region))
                last.ids.update(ids)
                last.by_blake3.update(zip((read_blake3(store, index, region) if HAS_BLAKE3 else None) or [], ids))
        except ImagingError:
            return cls()
        last.by_blake3.pop(bytes(32), None)  # what stands for a chunk of free space
        return last


class _Writer:
    def __init__(
        self,
        store: PathStore,
        device: Device,
        regions: list[Region],
        level: int,
        meter: Meter,
        last: _Last,
    ) -> None:
        self._last = last
        self._store = store
        self._device = device
        self._regions = regions
        self._codec = Codec(level)
        self._meter = meter
        self._lock = threading.Lock()
        self._ids = {region.number: bytearray(32 * region.chunks) for region in regions}
        self._blake3 = {region.number: bytearray(32 * region.chunks) for region in regions if HAS_BLAKE3}
        self.stored: dict[bytes, int] = {}
        self.chunks_new = 0
        self.bytes_new = 0

    def run(self) -> None:
        self._meter.start("capturing", sum(region.extents.total for region in self._regions))
        each(chain.from_iterable(map(self._items, self._regions)), self._one, threads())

    def tables(self) -> dict[str, bytes]:
        """Return the files that go beside the index, and note their digests in the partitions."""
        files = {}
        for region in self._regions:
            files[region.file] = caibx.encode(Ids(self._ids[region.number]), region.size)
            region.caibx_sha256 = hashlib.sha256(files[region.file]).hexdigest()
            if HAS_BLAKE3:
                files[region.blake3_file] = bytes(self._blake3[region.number])
                region.blake3_sha256 = hashlib.sha256(files[region.blake3_file]).hexdigest()
        return files

    def _items(self, region: Region) -> Iterator[Item]:
        return ((region, number) for number in range(region.chunks))

    def _one(self, item: Item) -> None:
        region, number = item
        start, length = chunk_bounds(number, region.size)
        used = list(region.extents.within(start, start + length))
        data = self._device.read_used(start, length, region.extents, region.start) if used else ZEROS[:length]
        at = slice(32 * number, 32 * (number + 1))
        identifier = b"" if used else zeros_sha256(length)
        if used and HAS_BLAKE3:
            fast = self._blake3[region.number][at] = blake3(data)
            identifier = self._last.by_blake3.get(fast, b"")
        identifier = identifier or sha256(data)
        self._ids[region.number][at] = identifier
        with self._lock:
            mine = identifier not in self.stored
            if mine:
                self.stored[identifier] = 0
        if mine:
            self._keep(identifier, data)
        self._meter.add(sum(count for _offset, count in used))

    def _keep(self, identifier: bytes, data: memoryview) -> None:
        size = self._store.claim_chunk(identifier)
        new = size == 0 or not self._is_sound(identifier, data)
        if new:
            packed = self._codec.compress(data)
            size = len(packed)
            self._store.put_chunk(identifier, packed)
        with self._lock:
            self.stored[identifier] = size
            self.chunks_new += new
            self.bytes_new += size if new else 0

    def _is_sound(self, identifier: bytes, data: memoryview) -> bool:
        """Whether a chunk that the store has is whole. One that no version was published with may be what a power cut left."""
        if identifier in self._last.ids:
            return True
        try:
            return self._codec.decompress(self._store.chunk(identifier), CHUNK_SIZE) == data
        except (DamagedError, MissingError):
            return False
