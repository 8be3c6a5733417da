# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trees of btrfs that say what of its only device is used, and where.

Source: the kernel's include/uapi/linux/btrfs_tree.h, and Btrfs's On-disk Format.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import Iterator, NamedTuple

from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extent
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import UnmappedError, read

_SUPERBLOCK_AT, _SUPERBLOCK_SIZE = 64 << 10, 4096
# Others change where things are: zoned devices, extent tree v2, the tree of RAID stripes, the remap tree.
_KNOWN_FEATURES = 0x10FFF
_CHUNKS_AT, _CHUNKS_MOST = 0x32B, 2048
_NODE_SIZES = (4 << 10, 64 << 10)
_HEADER = 101  # of a node
_FARTHEST = 1 << 62  # the kernel can read no farther than 63 bits
_EXTENT_TREE = 2
_ROOT_ITEM, _EXTENT_ITEM, _METADATA_ITEM, _CHUNK_ITEM = 132, 168, 169, 228
_ROOT_IN_ITEM = 176
_STRIPED = 1 << 3 | 1 << 6 | 1 << 7 | 1 << 8  # RAID0, RAID10, RAID5, RAID6
_DAMAGED = "its trees make no sense (btrfs check tells more)"

_key = struct.Struct("<QBQ")
_item = struct.Struct("<QBQII")  # a key, and where in a leaf its data is
_pointer = struct.Struct("<QBQQQ")  # a key, the address of a node, its generation
_chunk = struct.Struct("<QQQQIIIHH")
_stripe = struct.Struct("<QQ16s")


@dataclass(frozen=True)
class Superblock:
    """The fields of it that matter here.

    I(used) is how many bytes of addresses are, I(number) and I(length) are of this device, I(devices) is how many there are.
    """

    fsid: bytes
    root: int
    chunk_root: int
    log_root: int
    used: int
    devices: int
    node_size: int
    features: int
    number: int
    length: int
    chunks: bytes

    @classmethod
    def read(cls, device: str) -> Superblock:
        """Read the first copy."""
        data = read(device, _SUPERBLOCK_AT, _SUPERBLOCK_SIZE)
        root, chunk_root, log_root = struct.unpack_from("<QQQ", data, 0x50)
        (used,) = struct.unpack_from("<Q", data, 0x78)
        devices, _sector, node_size = struct.unpack_from("<QII", data, 0x88)
        (chunks,) = struct.unpack_from("<I", data, 0xA0)
        (features,) = struct.unpack_from("<Q", data, 0xBC)
        number, length = struct.unpack_from("<QQ", data, 0xC9)
        array = data[_CHUNKS_AT : _CHUNKS_AT + min(chunks, _CHUNKS_MOST)]
        return cls(data[0x20:0x30], root, chunk_root, log_root, used, devices, node_size, features, number, length, array)


class _Chunk(NamedTuple):
    """A range of addresses, and where on the device each copy of it begins."""

    start: int
    length: int
    copies: tuple[int, ...]


class Trees:
    """The trees of a filesystem on one device."""

    def __init__(self, device: str, superblock: Superblock) -> None:
        """Read which addresses are where.

        :raises UnmappedError: They make no sense, or have a form that is not known here.
        """
        if superblock.features & ~_KNOWN_FEATURES:
            raise UnmappedError(f"it has features that are not known here ({superblock.features & ~_KNOWN_FEATURES:#x})")
        if not _NODE_SIZES[0] <= superblock.node_size <= _NODE_SIZES[1]:
            raise UnmappedError(_DAMAGED)
        self._superblock = superblock
        self._chunks: list[_Chunk] = []
        self._starts: list[int] = []
        self._file = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._learn(self._first_chunks())
            self._learn(list(self._chunk_tree()))
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Trees:
        return self

    def __exit__(self, *_unused: object) -> None:
        os.close(self._file)

    def used(self) -> Iterator[Extent]:
        """Yield where on the device each copy of each extent begins and ends.

        Checksums are not looked at, which would take long here; damaged trees do not add up to what the superblock has.
        """
        total = 0
        for address, length in self._extents():
            total += length
            for chunk, offset, count in self._within(address, length):
                for copy in chunk.copies:
                    yield copy + offset, copy + offset + count
        if total != self._superblock.used:
            raise UnmappedError(_DAMAGED)

    def _extents(self) -> Iterator[Extent]:
        """Yield addresses and lengths of all that is used; neighbours are one."""
        begin = end = 0
        for address, kind, length, _data in self._items(self._extent_root(), {_EXTENT_ITEM, _METADATA_ITEM}):
            if kind == _METADATA_ITEM:
                length = self._superblock.node_size
            if address != end:
                if address < end:
                    raise UnmappedError(_DAMAGED)
                if end:
                    yield begin, end - begin
                begin = address
            end = address + length
        if end:
            yield begin, end - begin

    def _extent_root(self) -> int:
        for number, _kind, _offset, data in self._items(self._superblock.root, {_ROOT_ITEM}):
            if number == _EXTENT_TREE and len(data) >= _ROOT_IN_ITEM + 8:
                return int(struct.unpack_from("<Q", data, _ROOT_IN_ITEM)[0])
        raise UnmappedError(_DAMAGED)

    def _first_chunks(self) -> list[_Chunk]:
        """Return the chunks that the superblock has: those with the tree of all chunks."""
        data, at, found = self._superblock.chunks, 0, []
        while at + _key.size + _chunk.size <= len(data):
            address = _key.unpack_from(data, at)[2]
            at += _key.size
            found.append(self._read_chunk(address, data[at:]))
            at += _chunk.size + _stripe.size * _chunk.unpack_from(data, at)[7]
        return found

    def _chunk_tree(self) -> Iterator[_Chunk]:
        for _number, _kind, address, data in self._items(self._superblock.chunk_root, {_CHUNK_ITEM}):
            yield self._read_chunk(address, data)

    def _read_chunk(self, address: int, data: bytes) -> _Chunk:
        if len(data) < _chunk.size:
            raise UnmappedError(_DAMAGED)
        length, _owner, _stripe_length, kind, _align, _width, _sector, stripes, _sub = _chunk.unpack_from(data)
        if not stripes or _chunk.size + stripes * _stripe.size > len(data):
            raise UnmappedError(_DAMAGED)
        if kind & _STRIPED and stripes > 1:
            raise UnmappedError("its chunks are spread in a way that is not known here")
        found = [_stripe.unpack_from(data, _chunk.size + number * _stripe.size) for number in range(stripes)]
        if any(offset + length > _FARTHEST for _number, offset, _uuid in found):
            raise UnmappedError(_DAMAGED)
        if any(number != self._superblock.number for number, _offset, _uuid in found):
            raise UnmappedError("part of it is on another device")
        return _Chunk(address, length, tuple(offset for _number, offset, _uuid in found))

    def _learn(self, chunks: list[_Chunk]) -> None:
        self._chunks = sorted(chunks)
        self._starts = [chunk.start for chunk in self._chunks]

    def _within(self, address: int, length: int) -> Iterator[tuple[_Chunk, int, int]]:
        """Yield the chunks of some addresses, with offset and length within each."""
        while length:
            number = bisect_right(self._starts, address) - 1
            if number < 0 or address >= self._chunks[number].start + self._chunks[number].length:
                raise UnmappedError(_DAMAGED)
            chunk = self._chunks[number]
            offset = address - chunk.start
            count = min(length, chunk.length - offset)
            yield chunk, offset, count
            address, length = address + count, length - count

    def _items(self, root: int, kinds: set[int]) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield the key and the data of each item of some kinds in a tree, in order."""
        last = (-1, 0, 0)
        for number, kind, offset, data in self._walk(root):
            # So no node is read twice: a few that lead to each other could be a tree without an end.
            if (number, kind, offset) <= last:
                raise UnmappedError(_DAMAGED)
            last = number, kind, offset
            if kind in kinds:
                yield number, kind, offset, data

    def _walk(self, address: int, below: int = 8, generation: int | None = None) -> Iterator[tuple[int, int, int, bytes]]:
        node, level, count = self._node(address, generation)
        if level >= below or not (count or generation is None):
            raise UnmappedError(_DAMAGED)
        if level:
            for *_first, child, written in _pointer.iter_unpack(node[_HEADER : _HEADER + count * _pointer.size]):
                yield from self._walk(child, level, written)
            return
        for number, kind, offset, at, length in _item.iter_unpack(node[_HEADER : _HEADER + count * _item.size]):
            yield number, kind, offset, node[_HEADER + at : _HEADER + at + length]

    def _node(self, address: int, generation: int | None) -> tuple[bytes, int, int]:
        """Return a node, its level, and how many items it has; from another copy if the first is damaged, or an old one."""
        size = self._superblock.node_size
        for chunk, offset, _count in self._within(address, size):
            for copy in chunk.copies:
                node = os.pread(self._file, size, copy + offset)
                if len(node) < size or struct.unpack_from("<Q", node, 48)[0] != address:
                    continue
                written, _owner, count, level = struct.unpack_from("<QQIB", node, 80)
                if generation in (None, written) and _HEADER + count * (_pointer if level else _item).size <= size:
                    return node, level, count
        raise UnmappedError(_DAMAGED)
