# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An image's description: the disk, its partitions, what of them is used, and how to know that all of it is genuine."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Iterator

from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.disk.tables import Table, open_table
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError

FORMAT = 1
LARGEST_HEAD = 4 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass
class Region:
    """One partition: where it is, what it is, and which bytes of it are used. Sizes and offsets are bytes.

    I(size_min) is what it can be shrunk to, 0 or its size if it cannot be.
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
    caibx_sha256: str = ""
    blake3_sha256: str = ""

    @property
    def file(self) -> str:
        """The name of its chunk table in the store."""
        return f"p{self.number}.caibx"

    @property
    def blake3_file(self) -> str:
        """The name of the file with a BLAKE3 hash for each of its chunks, beside the chunk table."""
        return f"p{self.number}.blake3"

    @property
    def chunks(self) -> int:
        """The number of its chunks, those of free space included."""
        return -(-self.size // CHUNK_SIZE)


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
        return max(region.start + region.size for region in self.partitions)

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


def check_name(kind: str, name: str) -> str:
    """Return I(name) if it can be the name of an image or a version, which are folder names and parts of URLs."""
    if not NAME.fullmatch(name):
        raise ImagingError(
            f"{kind} {name!r} cannot be used: letters, digits, '.', '_' and '-', at most 128, not starting with a sign"
        )
    return name


def decode(data: bytes, name: str) -> Index:
    """Read an C(index.json), which may come from anywhere, so nothing in it is believed unchecked.

    :param name: What to call it in an error.
    """
    try:
        value = json.loads(data)
        if value["format"] > FORMAT:
            raise ImagingError(f"{name}: format {value['format']} is newer than this collection reads ({FORMAT}): update it")
        del value["format"]
        value["head"] = _unpack_head(value["head"])
        value["links"] = [(int(offset), base64.b64decode(text, validate=True)) for offset, text in value.get("links", [])]
        value["partitions"] = [Region(**{**item, "extents": Extents(item["extents"])}) for item in value["partitions"]]
        index = Index(**value)
        _check(index, name)
    except ImagingError:
        raise
    except (DiskError, ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise DamagedError(f"{name}: this is not an index of an image: {error!r:.200}") from error
    return index


def _unpack_head(text: str) -> bytes:
    unpack = zlib.decompressobj()
    head = unpack.decompress(base64.b64decode(text, validate=True), LARGEST_HEAD)
    if unpack.unconsumed_tail:
        raise ImagingError(f"the head of the disk is larger than {LARGEST_HEAD} bytes")
    return head


def _check(index: Index, name: str) -> None:
    check_name("image name", index.name)
    check_name("version", index.version)
    if index.label not in ("gpt", "dos") or index.sector_size not in (512, 4096):
        raise ImagingError(f"{name}: a disk with label {index.label!r} and sectors of {index.sector_size!r:.20} is unknown")
    if any(len(data) != index.sector_size or offset % index.sector_size for offset, data in index.links):
        raise ImagingError(f"{name}: the description of the logical partitions is damaged")
    end = len(index.head)
    for region in sorted(index.partitions, key=lambda item: item.start):
        if region.start < end or region.size <= 0 or region.start % index.sector_size:
            raise ImagingError(f"{name}: partition {region.number} overlaps what is before it")
        if region.extents.end > region.size:
            raise ImagingError(f"{name}: partition {region.number} is said to be used beyond its end")
        if not isinstance(region.number, int) or not 1 <= region.number <= 256:
            raise ImagingError(f"{name}: {region.number!r:.20} is not the number of a partition")
        end = region.start + region.size
    used = sum(region.extents.total for region in index.partitions)
    if used != index.bytes_used:
        raise DamagedError(f"{name}: it is said to use {index.bytes_used} bytes, and its partitions use {used}: it is damaged")
    if end > index.disk_size:
        raise ImagingError(f"{name}: the partitions end at byte {end} of a disk of {index.disk_size}")
