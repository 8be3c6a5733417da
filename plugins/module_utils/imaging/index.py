# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image's description: the disk, its partitions, what of them is used, and how to know that all of it is genuine."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.disk.tables import Table, open_table
from ansible_collections.reimage.lab.plugins.module_utils.imaging import schema
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import chunk_count
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import NAME, blake3_file, table_file

FORMAT = 1
# Boards whose firmware reads the boot loader from the gap before the first partition have 16 MiB there.
LARGEST_HEAD = 32 << 20
LARGEST_SIZE = 1 << 60
# Of all partitions; an index with so many takes 50 MB, and reading it ten times as much memory.
MOST_EXTENTS = 1 << 20


@dataclass
class Region:
    """One partition: where it is, what it is, and which bytes of it are used. Sizes and offsets are bytes.

    I(size_min) is what it can be shrunk to, 0 or its size if it cannot be; I(size_max) what it can grow to, 0 if nothing is known
    to limit it; I(filesystem_uuid) is empty in older indexes.
    """

    number: int
    start: int
    size: int
    type: str
    uuid: str
    name: str
    filesystem: str
    label: str
    extents: Extents
    size_min: int = 0
    size_max: int = 0
    caibx_sha256: str = ""
    blake3_sha256: str = ""
    filesystem_uuid: str = ""

    @property
    def file(self) -> str:
        """The name of its chunk table in the store."""
        return table_file(self.number)

    @property
    def blake3_file(self) -> str:
        """The name of the file with a BLAKE3 hash for each of its chunks, beside the chunk table."""
        return blake3_file(self.number)

    @property
    def chunks(self) -> int:
        """The number of its chunks, those of free space included."""
        return chunk_count(self.size)


@dataclass
class Index:
    """One version of an image."""

    name: str
    version: str
    created: str
    description: str
    disk_size: int
    sector_size: int
    label: str
    head: bytes
    links: list[tuple[int, bytes]]
    partitions: list[Region]
    bytes_used: int = 0
    bytes_stored: int = 0
    chunks_total: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> str:
        """How people name it: C(NAME/VERSION)."""
        return f"{self.name}/{self.version}"

    @property
    def end(self) -> int:
        """Where the last partition ends, in bytes."""
        return max((region.start + region.size for region in self.partitions), default=0)

    def table(self) -> Table:
        """Return the partition table, ready to be changed."""
        return open_table(self.label, self.head, self.links, self.sector_size)

    def encode(self) -> bytes:
        """Return the C(index.json)."""
        buffer = BytesIO()
        buffer.writelines(self.parts())
        return buffer.getvalue()

    def parts(self) -> Iterator[bytes]:
        """Yield the C(index.json) in many small pieces; whole it is many times as large as the extents in it."""
        value = {
            "format": FORMAT,
            **vars(self),
            "head": base64.b64encode(zlib.compress(self.head)).decode(),
            "links": [[offset, base64.b64encode(data).decode()] for offset, data in self.links],
            "partitions": [{**vars(region), "extents": region.extents.pairs} for region in self.partitions],
        }
        for part in json.JSONEncoder(indent=1).iterencode(value):
            yield part.encode()
        yield b"\n"


def decode(data: bytes, name: str) -> Index:
    """Read an C(index.json), which may come from anywhere, so nothing in it is believed unchecked.

    :param name: What to call it in an error.
    :raises DamagedError: It is not one, or contradicts itself.
    """
    index = parse(data, name)
    check(index, name)
    return index


def parse(data: bytes, name: str) -> Index:
    """Read an C(index.json) that may contradict itself.

    :raises DamagedError: It is not one.
    """
    try:
        # An extent has a bracket and two commas.
        value = schema.parse(data, 4 * MOST_EXTENTS)
        newer = value.get("format") if isinstance(value, dict) else None
        if isinstance(newer, int) and newer > FORMAT:
            raise ImagingError(f"{name}: format {newer} is newer than this collection reads ({FORMAT}): update it")
        found = _INDEX(value, "it")
        del found["format"]
        found["partitions"] = [Region(**region) for region in found["partitions"]]
        return Index(**{"links": [], **found})
    except (DiskError, ValueError, zlib.error) as error:
        raise DamagedError(f"{name}: this is not an index of an image: {error!s:.200}") from error


def check(index: Index, name: str) -> None:
    """Raise C(DamagedError) if an index contradicts itself, or no disk can be as it says."""
    _check(index, name)
    _check_partitions(index, name)
    try:
        _check_table(index)
    except (DiskError, ValueError, struct.error) as error:
        raise DamagedError(f"{name}: this is not an index of an image: {error!s:.200}") from error


def refuse_too_many_extents(regions: Sequence[Region], disk: str) -> None:
    """Raise C(ImagingError) if an index of these partitions could not be read again."""
    count = sum(len(region.extents.pairs) for region in regions)
    if count > MOST_EXTENTS:
        raise ImagingError(
            f"disk {disk}: what is used of it is in {count} pieces, more than the {MOST_EXTENTS} of which an image can be made:"
            " defragment its filesystems"
        )


def _head(value: Any, place: str) -> bytes:
    unpack = zlib.decompressobj()
    head = unpack.decompress(_base64(value, place), LARGEST_HEAD)
    if not unpack.eof:
        raise ValueError(f"{place}: the head of the disk is cut short, or larger than {LARGEST_HEAD} bytes")
    return head


def _base64(value: Any, place: str) -> bytes:
    return base64.b64decode(schema.text(2 * LARGEST_HEAD)(value, place), validate=True)


def _extents(value: Any, place: str) -> Extents:
    # There may be a million, so this is one expression instead of a check for each.
    if not isinstance(value, list) or not all(isinstance(item, list) and list(map(type, item)) == [int, int] for item in value):
        raise ValueError(f"{place}: this is not a list of pairs of whole numbers")
    return Extents(value)


_SIZE = schema.whole(0, LARGEST_SIZE)
_SHORT = schema.text(1024)
_REGION = schema.fields(
    {
        "number": _SIZE,
        "start": _SIZE,
        "size": _SIZE,
        **dict.fromkeys(("type", "uuid", "name", "filesystem", "label"), _SHORT),
        "extents": _extents,
    },
    {"size_min": _SIZE, "size_max": _SIZE, **dict.fromkeys(("caibx_sha256", "blake3_sha256", "filesystem_uuid"), _SHORT)},
)
_INDEX = schema.fields(
    {
        "format": schema.whole(1, FORMAT),
        **dict.fromkeys(("name", "version", "created"), _SHORT),
        "description": schema.text(1 << 20),
        "disk_size": _SIZE,
        "sector_size": _SIZE,
        "label": _SHORT,
        "head": _head,
        "partitions": schema.items(_REGION, 256),
    },
    {
        "links": schema.items(schema.pair(_SIZE, _base64), 64),
        **dict.fromkeys(("bytes_used", "bytes_stored", "chunks_total"), _SIZE),
        "provenance": schema.mapping,
    },
)


def _check(index: Index, name: str) -> None:
    for kind, text in (("image name", index.name), ("version", index.version)):
        if not NAME.fullmatch(text):
            raise DamagedError(f"{name}: {kind} {text!a:.40} cannot be used")
    if index.label not in ("gpt", "dos") or index.sector_size not in (512, 4096):
        raise DamagedError(f"{name}: a disk with label {index.label!a:.20} and sectors of {index.sector_size} bytes is unknown")
    if any(len(data) != index.sector_size or offset % index.sector_size for offset, data in index.links):
        raise DamagedError(f"{name}: the description of the logical partitions is damaged")


def _check_partitions(index: Index, name: str) -> None:
    end = len(index.head)
    for region in sorted(index.partitions, key=lambda item: item.start):
        if region.start < end or region.size <= 0 or region.start % index.sector_size:
            raise DamagedError(f"{name}: partition {region.number} overlaps what is before it")
        if region.extents.end > region.size:
            raise DamagedError(f"{name}: partition {region.number} is said to be used beyond its end")
        if not 1 <= region.number <= 256:
            raise DamagedError(f"{name}: {region.number} is not the number of a partition")
        end = region.start + region.size
    if end > index.disk_size:
        raise DamagedError(f"{name}: the partitions end at byte {end} of a disk of {index.disk_size}")
    used = sum(region.extents.total for region in index.partitions)
    if used != index.bytes_used:
        raise DamagedError(f"{name}: it is said to use {index.bytes_used} bytes, and its partitions use {used}: it is damaged")
    if len({region.number for region in index.partitions}) < len(index.partitions):
        raise DamagedError(f"{name}: two partitions have the same number")


def _check_table(index: Index) -> None:
    """Raise C(ValueError) if the partitions are not those of the partition table, which is written to the disk."""
    table = index.table()
    for region in index.partitions:
        if table.span(region.number) != (region.start, region.size):
            raise ValueError(f"partition {region.number} is elsewhere in the partition table")
