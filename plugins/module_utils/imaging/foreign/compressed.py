# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk in one compressed file: its plain bytes, or partclone's image of all of it, as FOG makes of a raw disk."""

from __future__ import annotations

import struct
from itertools import chain
from pathlib import Path
from typing import Callable, Iterator

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign import partclone
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.disk import LARGEST_DISK, WorkDisk
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.streams import Parts, sniff, unpacked

# The version of the format, the filesystem, and the bytes of the device, in the head of partclone's images.
_HEAD = struct.Struct("<30x4s2x16sQ")


def unpack(source: Path, disk: WorkDisk, count: Callable[[int], None]) -> None:
    """Make a disk of it, sparse.

    :param count: Is told how many bytes were read.
    :raises ImagingError: It is damaged, cut off, not of a whole disk, or larger than any disk.
    """
    parts = Parts(_parts(source))
    blocks = unpacked(parts, sniff(source), count)
    head = b""
    for block in blocks:
        head += block
        if len(head) >= _HEAD.size:
            break
    everything = chain([head], blocks)
    if not head.startswith(partclone.MAGIC):
        _write(everything, disk, source)
        return
    version, filesystem, size = _HEAD.unpack_from(head.ljust(_HEAD.size, b"\0"))
    name = filesystem.rstrip(b"\0").decode(errors="replace").lower()
    if version != b"0002" or name != "raw":
        raise ImagingError(
            f"{source} is partclone's image of one partition ({name!r}), and an image is of a whole disk: restore it to"
            " a disk, and capture that"
        )
    disk.make(_bounded(size, source))
    with disk.whole() as device:
        partclone.restore(everything, device, size, str(source), plain=False)


def _parts(source: Path) -> list[Path]:
    """Return the files of a stream that was split as FOG does, C(.000), C(.001), …, given the first; else that file."""
    found = [source]
    while source.suffix == ".000" and source.with_suffix(f".{len(found):03}").is_file():
        found.append(source.with_suffix(f".{len(found):03}"))
    return found


def _write(blocks: Iterator[bytes], disk: WorkDisk, source: Path) -> None:
    size = 0
    with disk.path.open("wb") as file:
        for block in blocks:
            size = _bounded(size + len(block), source)
            if block.count(0) == len(block):
                file.seek(size)
            else:
                file.write(block)
        file.truncate(size)


def _bounded(size: int, source: Path) -> int:
    if size > LARGEST_DISK:
        raise ImagingError(f"{source} holds more than {LARGEST_DISK >> 20} MiB, which no disk has: it is damaged")
    return size
