# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filesystems whose used blocks partclone knows."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, require, run
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents, parse_ddrescue_map
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import LONG, Filesystem, UnmappedError, size_of


class Mapped(Filesystem):
    """A filesystem that partclone maps. It calls each of them what blkid does."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.partclone = name
        self.programs = {**self.programs, f"partclone.{name}": "partclone"}

    def map(self, device: str) -> Extents:
        """Return what partclone maps, and the last 4 KiB, where NTFS has a copy of its boot sector that partclone leaves out."""
        return map_of_partclone(self.name, device)


def map_of_partclone(name: str, device: str) -> Extents:
    """Return what partclone maps of a filesystem that it calls I(name), and the last 4 KiB.

    :raises UnmappedError: It can map no such filesystem.
    """
    program = f"partclone.{name}"
    require(program, f"read which blocks of {name} are used")
    with tempfile.TemporaryDirectory() as folder:
        # Its thread for progress sleeps as long as -f says, and is waited for at the end: two seconds by default.
        output, log = str(Path(folder, "map")), str(Path(folder, "log"))
        try:
            run([program, "-D", "-q", "-f", "0", "-s", device, "-o", output, "-L", log], timeout=LONG)
        except CommandError as error:
            raise UnmappedError(f"{program} cannot tell which of its blocks are used") from error
        text = Path(output).read_text(encoding="ascii")
    size = size_of(device)
    return parse_ddrescue_map(text, size).with_tail(size, 4096)


def kept_by_partclone(found: Filesystem, device: str) -> str:
    """Return what partclone calls a filesystem if an image that it makes has all that is used; else nothing."""
    if not found.partclone:
        return ""
    try:
        return found.partclone if map_of_partclone(found.partclone, device).cover(found.map(device)) else ""
    except UnmappedError:
        return ""
