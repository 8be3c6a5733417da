# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams of foreign folders: split, compressed in several ways, and cut off."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import zlib
from pathlib import Path

import pytest

zstandard = pytest.importorskip("zstandard")

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.clonezilla import part_ending
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.streams import (
    PLAIN,
    Parts,
    SplitWriter,
    sniff,
    unpacked,
)

CONTENT = b"".join(hashlib.sha256(bytes([number % 251, number >> 8])).digest() + bytes(64) for number in range(3000))
PACKERS = {
    "gzip": gzip.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "lz4": pytest.importorskip("lz4.frame").compress,
}


def split(tmp_path: Path, data: bytes, size: int) -> Parts:
    paths = []
    for number in range(0, len(data), size):
        paths.append(tmp_path / f"part.{number // size:03}")
        paths[-1].write_bytes(data[number : number + size])
    return Parts(paths)


def content(parts: Parts, kind: str) -> bytes:
    return b"".join(unpacked(parts, kind, lambda _count: None))


@pytest.mark.parametrize("kind", PACKERS)
def test_split_stream_is_put_together(tmp_path: Path, kind: str) -> None:
    parts = split(tmp_path, PACKERS[kind](CONTENT), 10_000)
    parts.check()
    assert sniff(parts.paths[0]) == kind
    assert content(parts, kind) == CONTENT


@pytest.mark.parametrize("kind", PACKERS)
def test_what_a_parallel_compressor_makes(tmp_path: Path, kind: str) -> None:
    half = len(CONTENT) // 2
    data = PACKERS[kind](CONTENT[:half]) + PACKERS[kind](CONTENT[half:])
    assert content(split(tmp_path, data, 7_001), kind) == CONTENT


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("cut", [1, 5_000])
def test_cut_stream_names_its_last_part(tmp_path: Path, kind: str, cut: int) -> None:
    parts = split(tmp_path, PACKERS[kind](CONTENT)[:-cut], 10_000)
    with pytest.raises(ReimageError, match=rf"{parts.paths[-1].name} ends too early"):
        content(parts, kind)


def test_one_empty_or_short_part_is_named(tmp_path: Path) -> None:
    parts = split(tmp_path, CONTENT, 50_000)
    parts.paths[2].write_bytes(b"short")
    with pytest.raises(ReimageError, match=r"part\.002 has 5 bytes"):
        parts.check()
    parts.paths[-1].write_bytes(b"")
    parts.paths[2].write_bytes(bytes(50_000))
    with pytest.raises(ReimageError, match="is empty"):
        parts.check()


def test_checksum_names_the_damaged_part(tmp_path: Path) -> None:
    parts = split(tmp_path, CONTENT, 100_000)
    sums = {path.name: ("sha1", hashlib.sha1(path.read_bytes()).hexdigest()) for path in parts.paths}
    assert content(Parts(parts.paths, sums), PLAIN) == CONTENT
    parts.paths[1].write_bytes(b"\xff" + parts.paths[1].read_bytes()[1:])
    with pytest.raises(ReimageError, match=r"part\.001 is damaged"):
        content(Parts(parts.paths, sums), PLAIN)


def test_file_that_wants_all_the_memory_is_refused(tmp_path: Path) -> None:
    """xz reserves what the header of a block asks for, here 4 GiB."""
    data = bytearray(lzma.compress(b"disk"))
    assert data[14:16] == b"\x21\x01"  # LZMA2, and one byte, which is the size of the dictionary
    data[16] = 40
    data[20:24] = zlib.crc32(data[12:20]).to_bytes(4, "little")
    with pytest.raises(ReimageError, match=r"cannot be decompressed.*[Mm]emory"):
        content(split(tmp_path, bytes(data), 10_000), "xz")


def test_compression_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"LZIP" + CONTENT)
    with pytest.raises(ReimageError, match="is compressed with lzip, which is not read here"):
        content(Parts([path]), sniff(path))


def test_written_stream_is_split_and_read_again(tmp_path: Path) -> None:
    writer = SplitWriter(lambda number: tmp_path / f"image.{part_ending(number, 2)}", 10_000, 3)
    for start in range(0, len(CONTENT), 33_333):
        writer.write(CONTENT[start : start + 33_333])
    writer.close()
    paths = sorted(tmp_path.glob("image.*"))
    assert [path.stat().st_size for path in paths[:-1]] == [10_000] * (len(paths) - 1)
    assert len(paths) > 2
    assert content(Parts(paths), "zstd") == CONTENT


def test_endings_are_those_of_split() -> None:
    assert [part_ending(number, 2) for number in (0, 1, 25, 26, 675)] == ["aa", "ab", "az", "ba", "zz"]
