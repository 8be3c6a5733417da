# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of the store's format, and that what is wrong in them is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import tracemalloc
import zlib
from dataclasses import asdict

import blake3
import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents, parse_ddrescue_map
from ansible_collections.reimage.lab.plugins.module_utils.disk.gpt import Gpt
from ansible_collections.reimage.lab.plugins.module_utils.disk.mbr import read_links
from ansible_collections.reimage.lab.plugins.module_utils.disk.tables import open_table
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging import caibx, hashing, index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.zstd import Codec

MIB = 1 << 20


def test_chunk_table_comes_back() -> None:
    ids = [hashlib.sha256(bytes([number])).digest() for number in range(3)]
    data = caibx.encode(ids, 2 * MIB + 5)
    assert list(caibx.decode(data, 2 * MIB + 5, "p1.caibx")) == ids


@pytest.mark.parametrize("at", [0, 8, 24, 48, 64, 104])
def test_damaged_chunk_table_is_refused(at: int) -> None:
    data = bytearray(caibx.encode([bytes(32)] * 2, 2 * MIB))
    data[at] ^= 1
    with pytest.raises(ReimageError, match=r"p1\.caibx"):
        caibx.decode(bytes(data), 2 * MIB, "p1.caibx")


def test_chunk_table_of_another_size_is_refused() -> None:
    with pytest.raises(ReimageError, match="does not fit"):
        caibx.decode(caibx.encode([bytes(32)], MIB), 5 * MIB, "p1.caibx")


def test_used_extents_of_partclone_are_widened_merged_and_cut() -> None:
    text = "# comment\n0x0 ?\n0x00000000 0x1000 +\n0x1000 0x400 +\n0x1400 0x4000 ?\n0x5400 0x10000 +\n"
    assert parse_ddrescue_map(text, 0x8000).pairs == [(0, 0x2000), (0x5000, 0x3000)]


def test_map_without_used_blocks_is_refused() -> None:
    with pytest.raises(ReimageError, match="no used block"):
        parse_ddrescue_map("0x0 ?\n0x0 0x1000 ?\n", 0x1000)


def test_window_cuts_extents() -> None:
    extents = Extents([(0, 10), (20, 10), (40, 10)])
    assert list(extents.within(5, 45)) == [(5, 5), (20, 10), (40, 5)]
    assert list(extents.within(10, 20)) == []


def test_tail_is_added_once() -> None:
    assert Extents([(0, 10)]).with_tail(100, 20).pairs == [(0, 10), (80, 20)]
    assert Extents([(0, 90)]).with_tail(100, 20).pairs == [(0, 100)]


@pytest.mark.parametrize("pairs", [[(5, 5), (0, 2)], [(0, 5), (4, 2)], [(0, 0)], [(-1, 3)]])
def test_extents_that_overlap_or_are_empty_are_refused(pairs: list[tuple[int, int]]) -> None:
    with pytest.raises(ReimageError, match="sorted and disjoint"):
        Extents(pairs)


def gpt(entries: bytes = bytes(128 * 128)) -> bytes:
    fields = [b"EFI PART", 0x10000, 92, 0, 0, 1, 999, 34, 900, b"G" * 16, 2, 128, 128, zlib.crc32(entries)]
    header = struct.pack("<8sIIIIQQQQ16sQIII", *fields)
    mbr = bytearray(512)
    mbr[450] = 0xEE
    return bytes(mbr) + header.ljust(512, b"\0") + entries


def test_table_is_moved_to_the_end_of_another_disk() -> None:
    (_zero, head), (at, tail) = Gpt(gpt(), 512).pieces(4096 * 512)
    alternate, last_usable = struct.unpack_from("<Q", head, 512 + 32)[0], struct.unpack_from("<Q", head, 512 + 48)[0]
    assert (alternate, last_usable) == (4095, 4095 - 33)
    assert (at + len(tail), struct.unpack_from("<Q", tail, len(tail) - 512 + 24)[0]) == (4096 * 512, 4095)
    assert head[512 + 56 : 512 + 72] == b"G" * 16


def test_damaged_table_is_refused() -> None:
    with pytest.raises(ReimageError, match="checksum"):
        Gpt(gpt()[:-1] + b"x", 512)
    with pytest.raises(ReimageError, match="do not hold"):
        Gpt(bytes(40 * 512), 512)
    with pytest.raises(ReimageError, match="too short"):
        open_table("gpt", bytes(600), [], 512)


def test_chain_of_logical_partitions_without_end_is_refused() -> None:
    sector = bytearray(512)
    sector[510:] = b"\x55\xaa"
    struct.pack_into("<B3sB3sII", sector, 446, 0, b"", 5, b"", 10, 100)
    struct.pack_into("<B3sB3sII", sector, 462, 0, b"", 5, b"", 0, 100)
    with pytest.raises(ReimageError, match="no end"):
        read_links(lambda _offset, _length: bytes(sector), 512)


def an_index() -> index.Index:
    entry = struct.pack("<16s16sQQ", b"type", b"uuid", 2048, 4095)
    return index.Index(
        name="lab",
        version="1",
        created="2026-11-21",
        description="",
        disk_size=4 * MIB,
        sector_size=512,
        label="gpt",
        head=gpt(entry.ljust(128 * 128, b"\0")),
        links=[],
        partitions=[index.Region(1, MIB, MIB, "type", "uuid", "name", "ext4", "root", Extents([(0, 4096)]))],
        bytes_used=4096,
    )


@pytest.mark.parametrize("length", [0, 1, 4096, CHUNK_SIZE, CHUNK_SIZE + 1])
def test_zeros_that_are_known_at_sight_have_the_digest_of_zeros(length: int) -> None:
    for data in (bytes(length), bytes(length)[:-1] + b"x"):
        assert hashing.sha256(memoryview(data)) == hashlib.sha256(data).digest()
        assert hashing.blake3(memoryview(data)) == blake3.blake3(data).digest()


def test_index_comes_back() -> None:
    one = an_index()
    other = index.decode(one.encode(), "index.json")
    assert (other.head, other.partitions[0].extents.pairs, other.image) == (one.head, [(0, 4096)], "lab/1")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"format": 1', '"format": 2', "newer"),
        ('"name": "lab"', '"name": "../lab"', "cannot be used"),
        ('"version": "1"', '"version": "a/b"', "cannot be used"),
        ('"start": 1048576', '"start": 512', "overlaps"),
        ('"size": 1048576', '"size": 99999999', "end at byte"),
        ('"size": 1048576', '"size": 2048', "beyond its end"),
        ('"number": 1', '"number": 0', "not the number"),
        ('"label": "gpt"', '"label": "sun"', "unknown"),
        ('"start": 1048576', '"start": "x"', "not an index"),
        ("{", "", "not an index"),
        ('"disk_size"', '"disc_size"', "not an index"),
    ],
)
def test_index_that_cannot_be_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(ReimageError, match=said):
        index.decode(an_index().encode().replace(old.encode(), new.encode(), 1), "index.json")


def test_frame_that_holds_too_much_or_is_damaged_is_refused() -> None:
    codec = Codec()
    assert codec.decompress(codec.compress(b"a" * 100), 100) == b"a" * 100
    with pytest.raises(DamagedError):
        codec.decompress(b"nothing of zstd", 100)


def description(extents: int) -> index.Index:
    used = Extents([(number * 8192, 4096) for number in range(extents)])
    region = index.Region(1, MIB, extents * 8192, "83", "", "Wurzel", "ext4", "root", used, caibx_sha256="00")
    entries = [struct.pack("<4xB3xII", 0x83, 2048, extents * 16), struct.pack("<4xB3xII", 5, 1, 2047)]
    return index.Index(
        name="lab",
        version="1",
        created="now",
        description="für alle",
        disk_size=1 << 40,
        sector_size=512,
        label="dos",
        head=bytes(446) + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa",
        links=[(512, bytes(512))],
        partitions=[region],
        provenance={"a": [1]},
        bytes_used=extents * 4096,
    )


def test_description_has_the_same_bytes_as_ever() -> None:
    """An image's digest is of them."""
    one = description(2)
    value = {"format": 1, **asdict(one), "head": base64.b64encode(zlib.compress(one.head)).decode()}
    value["links"] = [[512, base64.b64encode(bytes(512)).decode()]]
    value["partitions"][0]["extents"] = [[0, 4096], [8192, 4096]]
    assert one.encode() == json.dumps(value, indent=1).encode() + b"\n"
    assert b"".join(one.parts()) == one.encode()
    assert index.decode(one.encode(), "x").encode() == one.encode()


def test_description_of_many_extents_is_hashed_in_little_memory() -> None:
    one = description(100_000)
    tracemalloc.start()
    try:
        assert sum(map(len, one.parts())) > 3 * MIB
        assert tracemalloc.get_traced_memory()[1] < MIB
        one.encode()
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()
