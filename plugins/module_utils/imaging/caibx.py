# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""casync's chunk table for fixed-size chunks with SHA-256 ids.

Source: casync's C(caformat.h); checked with C(casync extract).
"""

from __future__ import annotations

import struct
from typing import Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError

CHUNK_SIZE = 1 << 20
_INDEX, _INDEX_SIZE = 0x96824D9C7B129FF9, 48
_TABLE, _TABLE_HEAD = 0xE75B9E112F17417D, 0xFFFFFFFFFFFFFFFF
_TAIL = 0x4B4F050E5549ECD1
_HEADER = struct.Struct("<6Q")
_TABLE_HEADER = struct.Struct("<2Q")
_ITEM = struct.Struct("<Q32s")
_TAIL_ITEM = struct.Struct("<5Q")


def chunk_count(size: int) -> int:
    """Return how many chunks a region of I(size) bytes has."""
    return -(-size // CHUNK_SIZE)


def chunk_bounds(number: int, size: int) -> tuple[int, int]:
    """Return where a chunk begins in a region of I(size) bytes, and its length; only the last one may be short."""
    start = number * CHUNK_SIZE
    return start, min(CHUNK_SIZE, size - start)


class Ids:
    """Digests of 32 bytes, left in the file that they came in: a list of a terabyte's would take ten times the memory.

    :param data: Where they are: the first at byte I(first), another every I(step) bytes, I(count) in all.
    """

    def __init__(self, data: bytes | bytearray, first: int = 0, step: int = 32, count: int = -1) -> None:
        self._data = data
        self._first = first
        self._step = step
        self._count = count if count >= 0 else len(data) // step

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> bytes:
        if not 0 <= number < self._count:
            raise IndexError(number)
        at = self._first + number * self._step
        return bytes(self._data[at : at + 32])

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(self._count))


def encode(ids: Sequence[bytes] | Ids, size: int) -> bytes:
    """Return the C(.caibx) of a region.

    :param ids: The 32-byte ids of its chunks, in order.
    :param size: The size of the region in bytes; only the last chunk may be short.
    """
    parts = [
        _HEADER.pack(_INDEX_SIZE, _INDEX, 0, CHUNK_SIZE, CHUNK_SIZE, CHUNK_SIZE),
        _TABLE_HEADER.pack(_TABLE_HEAD, _TABLE),
    ]
    parts += [_ITEM.pack(sum(chunk_bounds(number, size)), identifier) for number, identifier in enumerate(ids)]
    table = _TABLE_HEADER.size + len(ids) * _ITEM.size + _TAIL_ITEM.size
    parts.append(_TAIL_ITEM.pack(0, 0, _INDEX_SIZE, table, _TAIL))
    return b"".join(parts)


def decode(data: bytes, size: int, name: str) -> Ids:
    """Return the ids of the chunks of a region of I(size) bytes.

    :raises ImagingError: The table is damaged, or does not describe I(size) bytes in chunks of 1 MiB.
    """
    count = chunk_count(size)
    if len(data) != _HEADER.size + _TABLE_HEADER.size + count * _ITEM.size + _TAIL_ITEM.size:
        raise ImagingError(f"{name}: the chunk table has {len(data)} bytes, which does not fit {count} chunks")
    head, table = _HEADER.unpack_from(data), _TABLE_HEADER.unpack_from(data, _HEADER.size)
    if head[:2] != (_INDEX_SIZE, _INDEX) or head[3:] != (CHUNK_SIZE,) * 3 or table != (_TABLE_HEAD, _TABLE):
        raise ImagingError(f"{name}: this is not a casync index of 1 MiB chunks with SHA-256 ids")
    start = _HEADER.size + _TABLE_HEADER.size
    items = _ITEM.iter_unpack(memoryview(data)[start : start + count * _ITEM.size])
    if any(end != sum(chunk_bounds(number, size)) for number, (end, _identifier) in enumerate(items)):
        raise ImagingError(f"{name}: the chunks of the table do not add up to {size} bytes")
    return Ids(data, start + 8, _ITEM.size, count)
