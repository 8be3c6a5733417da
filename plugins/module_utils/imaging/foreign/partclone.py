# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""partclone, which Clonezilla and FOG both use: its images of filesystems, streamed through a pipe.

The pipe's end is named to partclone as a file of this process, so that no shell and no temporary file is between.
"""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Callable, Iterable, Iterator

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError

MAGIC = b"partclone-image"
_LONG = 24 * 3600
_READ = 1 << 20


def restore(blocks: Iterator[bytes], device: str, size: int, what: str, *, plain: bool) -> bool:
    """Write to a device of I(size) bytes what an image of a partition holds.

    :param what: The partition and its files, for error messages.
    :param plain: The image may also be the partition's plain bytes.
    :returns: Whether partclone made it, which leaves out what it takes for free.
    :raises ImagingError: The image is damaged, truncated, or larger than the device.
    """
    head = b""
    while len(head) < len(MAGIC):
        block = next(blocks, b"")
        if not block:
            break
        head += block
    everything = chain([head], blocks)
    if head.startswith(MAGIC):
        _feed(everything, lambda source: _partclone(["partclone.restore", "-s", source, "-O", device], what))
        return True
    if plain:
        _copy(everything, device, size, what)
        return False
    raise ImagingError(f"{what} is not an image that partclone made")


def save(device: str, kind: str, write: Callable[[bytes], None], what: str) -> None:
    """Give the partclone image of a filesystem to I(write), piece by piece.

    :param kind: What partclone calls it; C(imager) for an image of every block, C(dd) for the plain bytes.
    """
    if kind == "dd":
        with open(device, "rb", buffering=0) as file:  # noqa: PTH123
            for block in iter(lambda: file.read(_READ), b""):
                write(block)
        return
    _drain(lambda target: _partclone([f"partclone.{kind}", "-c", "-s", device, "-O", target], what), write)


def _partclone(arguments: list[str], what: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            run([*arguments, "-L", str(Path(folder, "log"))], timeout=_LONG)
        except CommandError as error:
            log = Path(folder, "log")
            text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            said = "; ".join(line for line in text.splitlines() if "rror" in line or "fail" in line)[-300:]
            raise ImagingError(f"{what}: partclone could not process it, it is damaged or truncated: {said or error}") from error


def _copy(blocks: Iterable[bytes], device: str, size: int, what: str) -> None:
    """Write plain bytes, which must be as many as the device has. It is new, so zeros need not be written."""
    offset = 0
    try:
        with Device(device, write=True) as disk:
            for block in blocks:
                if offset + len(block) > size:
                    raise ImagingError(f"{what} holds more than the {size} bytes of its partition")
                if block.count(0) != len(block):
                    disk.write(offset, block)
                offset += len(block)
            # A full disk under the loop device is only told here.
            disk.sync()
    except DiskError as error:
        raise ImagingError(f"{what} cannot be unpacked; is there room in the work folder? {error}") from error
    if offset != size:
        raise ImagingError(f"{what} holds {offset} bytes of a partition of {size}: it is truncated, or a part of it is missing")


def _feed(blocks: Iterable[bytes], work: Callable[[str], None]) -> None:
    """Do I(work) with the name of a file from which it can read I(blocks).

    All of them are consumed, also when the program ends early: what is wrong with them explains why it did.
    """

    def pump() -> None:
        wanted = True
        try:
            for block in blocks:
                wanted = wanted and _write(writer, block)
        finally:
            os.close(writer)

    reader, writer = os.pipe()
    _together(pump, lambda: work(f"/proc/{os.getpid()}/fd/{reader}"), reader)


def _drain(work: Callable[[str], None], write: Callable[[bytes], None]) -> None:
    """Do I(work) with the name of a file, and give what it writes there to I(write)."""

    def pump() -> None:
        try:
            for block in iter(lambda: os.read(reader, _READ), b""):
                write(block)
        finally:
            os.close(reader)

    reader, writer = os.pipe()
    _together(pump, lambda: work(f"/proc/{os.getpid()}/fd/{writer}"), writer)


def _together(pump: Callable[[], None], work: Callable[[], None], end: int) -> None:
    """Do both at the same time. I(end) of the pipe is closed after I(work), so that I(pump) sees that there is no more."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            pump()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    try:
        work()
    except ReimageError as error:
        reason: ReimageError | None = error
    else:
        reason = None
    finally:
        os.close(end)
        thread.join()
    if errors:
        raise errors[0]
    if reason:
        raise reason


def _write(file: int, data: bytes) -> bool:
    view = memoryview(data)
    with suppress(BrokenPipeError):
        while view:
            view = view[os.write(file, view) :]
        return True
    return False
