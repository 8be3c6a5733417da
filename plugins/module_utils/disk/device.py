# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk, or a raw disk file, as bytes."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError, ReadError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.errors import named

LARGEST_READ = 1 << 20  # of C(read_used), in bytes
_BLKSSZGET = 0x1268
_BLKRRPART = 0x125F
_BLKFLSBUF = 0x1261
_BLKDISCARD = 0x1277
_DISCARD_UNIT = 64 << 10


class Device:
    """An open disk. Reads and writes are positional, so threads share it."""

    def __init__(self, path: str, *, write: bool = False) -> None:
        self.path = path
        self.is_block = Path(path).is_block_device()
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
        try:
            # O_EXCL on a block device fails while the kernel has it in use: a last safeguard against the wrong disk.
            self._file = os.open(path, flags | (os.O_EXCL if write and self.is_block else 0))
        except OSError as error:
            raise DiskError(f"disk {path} cannot be opened: {error.strerror}") from error
        self.size = os.lseek(self._file, 0, os.SEEK_END)
        self.sector_size = self._sector_size()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_unused: object) -> None:
        os.close(self._file)

    def read_used(self, start: int, length: int, extents: Extents, base: int) -> memoryview:
        """Return I(length) bytes of a region, zeros where it is free; good until this thread reads again.

        :param start: Where in the region to begin.
        :param base: Where in the disk the region begins.
        """
        return _fill(self.path, self._file, start, length, extents, base)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of I(data)."""
        view = memoryview(data)
        while view:
            try:
                count = os.pwrite(self._file, view, offset)
            except OSError as error:
                raise DiskError(f"disk {self.path}: writing at byte {offset} failed: {error.strerror}") from error
            view, offset = view[count:], offset + count

    def read(self, offset: int, length: int) -> bytes:
        """Return I(length) bytes; fewer where the disk ends."""
        data = bytearray()
        while len(data) < length:
            try:
                part = os.pread(self._file, length - len(data), offset + len(data))
            except OSError as error:
                raise _unreadable(self.path, offset + len(data), error) from error
            if not part:
                break
            data += part
        return bytes(data)

    def sync(self) -> None:
        """Return when all that was written is on the disk, and forget what the page cache holds of it."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise DiskError(f"disk {self.path} did not keep what was written to it: {error.strerror}") from error
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        if self.is_block:
            fcntl.ioctl(self._file, _BLKFLSBUF)

    def discard(self, offset: int, length: int) -> None:
        """Tell the disk that nobody needs some of its bytes; a disk that cannot be told keeps them."""
        end = (offset + length) // _DISCARD_UNIT * _DISCARD_UNIT
        offset = -(-offset // _DISCARD_UNIT) * _DISCARD_UNIT
        if end <= offset:
            return
        if not self.is_block:
            run(["fallocate", "--punch-hole", "--offset", str(offset), "--length", str(end - offset), self.path])
            return
        with suppress(OSError):
            fcntl.ioctl(self._file, _BLKDISCARD, struct.pack("QQ", offset, end - offset))

    def reread_table(self) -> None:
        """Have the kernel see the new partitions."""
        if self.is_block:
            try:
                fcntl.ioctl(self._file, _BLKRRPART)
            except OSError:
                # A loop device without partition scanning does not know this.
                run(["partx", "--update", self.path], accept=(0, 1))

    def _sector_size(self) -> int:
        if not self.is_block:
            return 512
        return int(struct.unpack("i", fcntl.ioctl(self._file, _BLKSSZGET, b"\0" * 4))[0])


class DirectReader:
    """Reads a disk past the page cache, where the disk can do that: what is compared is what the disk holds."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError:  # a file on tmpfs
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> DirectReader:
        return self

    def __exit__(self, *_unused: object) -> None:
        os.close(self._file)

    def read_used(self, start: int, length: int, extents: Extents, base: int) -> memoryview:
        """Like C(Device.read_used)."""
        return _fill(self.path, self._file, start, length, extents, base)


class _Buffer(threading.local):
    """Memory of each thread's own, aligned for reading past the page cache.

    Made once: threads that get fresh memory for every chunk wait for each other in the kernel.
    """

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, LARGEST_READ))


_buffer = _Buffer()


def _fill(path: str, file: int, start: int, length: int, extents: Extents, base: int) -> memoryview:
    """Read what is used of one window of a region of at most a chunk."""
    view = _buffer.view[:length]
    done = 0
    for offset, count in extents.within(start, start + length):
        at, end = offset - start, offset - start + count
        view[done:at] = bytes(at - done)
        while at < end:
            try:
                got = os.preadv(file, [view[at:end]], base + start + at)
            except OSError as error:
                raise _unreadable(path, base + start + at, error) from error
            if not got:
                raise DiskError(f"disk {path} ended at byte {base + start + at}, where {end - at} bytes more were expected")
            at += got
        done = end
    view[done:] = bytes(length - done)
    return view


def _unreadable(path: str, offset: int, error: OSError) -> ReadError:
    return ReadError(f"disk {path}: reading at byte {offset} failed: {error.strerror}")


@contextmanager
def loop_device(path: str, start: int, size: int, sector: int = 512, *, write: bool = False) -> Iterator[str]:
    """Make one region of a disk a block device of its own."""
    mode = [] if write else ["--read-only"]
    span = ["--offset", str(start), "--sizelimit", str(size), "--sector-size", str(sector)]
    arguments = ["losetup", "--find", "--show", *mode, *span, path]
    loop = run(arguments).stdout.decode().strip()
    held = os.open(loop, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Detached while it is open, it goes away when it is closed, even if this process is killed.
        run(["losetup", "--detach", loop])
        with named(loop, f"[{path} from byte {start}]"):
            yield loop
    finally:
        os.close(held)
