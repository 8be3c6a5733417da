# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that a partition is kept in by other programs: split, and compressed in one of many ways."""

from __future__ import annotations

import bz2
import hashlib
import lzma
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterator, Mapping, Tuple

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.own_files import file_size, open_file

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]
try:
    from lz4 import frame as lz4_frame
except ImportError:
    lz4_frame = None

# The algorithm and the hex digest that a file should have.
Checksum = Tuple[str, str]
PLAIN, GZIP, ZSTD, XZ, BZIP2, LZ4 = "plain", "gzip", "zstd", "xz", "bzip2", "lz4"
_MAGIC = {
    b"\x1f\x8b": GZIP,
    b"\x28\xb5\x2f\xfd": ZSTD,
    b"\xfd7zXZ\0": XZ,
    b"\x5d\0\0": XZ,  # what lzma made before xz; the same library reads both
    b"BZh": BZIP2,
    b"\x04\x22\x4d\x18": LZ4,
    b"\x89LZO": "lzop",
    b"LZIP": "lzip",
    b"LRZI": "lrzip",
}
_READ = 1 << 20
# A little of a compressed file can be very many zeros: a block of zstd takes four bytes for 128 KiB.
_SLICE = 1024
# Of xz, whose files say how much they want; -9 takes 65 MiB.
_MOST_MEMORY = 1 << 30


@dataclass(frozen=True)
class Parts:
    """The files that together are one stream, in their order, and what is known of their content."""

    paths: list[Path]
    checksums: Mapping[str, Checksum] = field(default_factory=dict)

    def __str__(self) -> str:
        more = f" to {self.paths[-1].name}" if len(self.paths) > 1 else ""
        return f"{self.paths[0]}{more}"

    def check(self) -> None:
        """Raise C(ImagingError) if a file is visibly not what it was: all but the last have the same size."""
        sizes = [file_size(path) for path in self.paths]
        for path, size in zip(self.paths, sizes):
            if size == 0:
                raise ImagingError(f"{path} is empty: copy the folder again")
            if size != sizes[0] and (path != self.paths[-1] or size > sizes[0]):
                raise ImagingError(
                    f"{path} has {size} bytes, and the part before it or the first has {sizes[0]}: a part of the stream is"
                    " truncated; copy the folder again"
                )

    def read(self, count: Callable[[int], None]) -> Iterator[bytes]:
        """Yield what the files hold, and raise C(ImagingError) at the end of one that does not match its checksum."""
        for path in self.paths:
            algorithm, wanted = self.checksums.get(path.name, ("", ""))
            digest = hashlib.new(algorithm, usedforsecurity=False) if algorithm else None
            try:
                with open_file(path.parent, path.name) as file:
                    yield from _blocks(file, digest, count)
            except OSError as error:
                raise ImagingError(f"{path} cannot be read: {error.strerror}") from error
            if digest and digest.hexdigest() != wanted:
                raise ImagingError(f"{path} is damaged: its {algorithm} checksum is not the one that the folder names")


def _blocks(file: BinaryIO, digest: Any, count: Callable[[int], None]) -> Iterator[bytes]:
    while True:
        block = file.read(_READ)
        if not block:
            return
        if digest:
            digest.update(block)
        count(len(block))
        yield block


def sniff(path: Path) -> str:
    """Return how a file is compressed, C(PLAIN) if it does not look compressed."""
    with open_file(path.parent, path.name) as file:
        return kind_of(file.read(8))


def kind_of(head: bytes) -> str:
    """Return how something is compressed that begins with I(head), C(PLAIN) if it does not look compressed."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), PLAIN)


def unpacked(parts: Parts, kind: str, count: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the plain content of a stream that is compressed as I(kind).

    :param count: Is told how many bytes of the files were read.
    :raises ImagingError: A file is damaged, or the stream ends too early.
    """
    if kind == PLAIN:
        yield from parts.read(count)
        return
    decoder = _decoder(kind, parts)
    between = True
    try:
        for block in parts.read(count):
            view = memoryview(block)
            while view:
                piece, view = view[:_SLICE], view[_SLICE:]
                while piece:
                    between = False
                    plain = decoder.decompress(piece)
                    if plain:
                        yield plain
                    piece = memoryview(b"")
                    if decoder.eof:
                        # Parallel compressors make a stream of several independent ones.
                        piece = memoryview(decoder.unused_data or b"")
                        decoder, between = _decoder(kind, parts), True
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError, *_ZSTD_ERRORS) as error:
        raise ImagingError(f"{parts} is damaged, and cannot be decompressed ({kind}): {error}") from error
    if not between:
        raise ImagingError(f"{parts.paths[-1]} ends too early: it is truncated, or a part that belongs behind it is missing")


_ZSTD_ERRORS = (zstandard.ZstdError,) if zstandard else ()


def _decoder(kind: str, parts: Parts) -> Any:
    if kind == ZSTD:
        need_zstd()
        return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
    if kind == GZIP:
        return zlib.decompressobj(wbits=31)
    if kind == XZ:
        return lzma.LZMADecompressor(memlimit=_MOST_MEMORY)
    if kind == BZIP2:
        return bz2.BZ2Decompressor()
    if kind == LZ4:
        if lz4_frame is None:
            raise ImagingError("the Python library lz4 is not installed here: install python3-lz4")
        return lz4_frame.LZ4FrameDecompressor()
    raise ImagingError(f"{parts} is compressed with {kind}, which is not read here: save it again with zstd or gzip")


def need_zstd() -> None:
    """Raise C(ImagingError) if there is no zstd for Python."""
    if zstandard is None:
        raise ImagingError("the Python library zstandard is not installed here: install python3-zstandard")


class SplitWriter:
    """Compresses a stream with zstd into files of at most I(limit) bytes.

    :param name: Gives the path of a file, given its number from 0.
    """

    def __init__(self, name: Callable[[int], Path], limit: int, level: int) -> None:
        need_zstd()
        self._name = name
        self._limit = limit
        self._packer = zstandard.ZstdCompressor(level=level, threads=-1).compressobj()
        self._file: BinaryIO | None = None
        self._number = 0
        self._room = 0

    def write(self, data: bytes) -> None:
        """Add to the stream."""
        self._put(self._packer.compress(data))

    def close(self) -> None:
        """Complete the stream."""
        self._put(self._packer.flush())
        if self._file:
            self._file.close()

    def _put(self, packed: bytes) -> None:
        view = memoryview(packed)
        while view:
            if not self._room or self._file is None:
                if self._file:
                    self._file.close()
                self._file = self._name(self._number).open("wb")
                self._number += 1
                self._room = self._limit
            piece, view = view[: self._room], view[self._room :]
            self._file.write(piece)
            self._room -= len(piece)
