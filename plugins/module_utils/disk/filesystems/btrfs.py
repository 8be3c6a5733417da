# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Btrfs."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents, widened
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import (
    DIRTY,
    LONG,
    Filesystem,
    Member,
    Unfit,
    UnmappedError,
    size_of,
)
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.btrfs_trees import Superblock, Trees
from ansible_collections.reimage.lab.plugins.module_utils.disk.mount import mounted

_RESERVED = 1 << 20  # for boot loaders; the superblock is in it
_COPIES = (64 << 20, 256 << 30)  # of the superblock
_LEAST = 256 << 20


class Btrfs(Filesystem):
    """Btrfs, which grows here, though it could shrink: that takes a mount of the whole.

    Its trees are read here: partclone 0.3.23 maps one copy of what has two, as all metadata has by default, and takes addresses
    of data for places on the disk. It is not checked after it grew: it has checksums of its own, and checking all of them takes
    as much memory as there is metadata.
    """

    names = ("btrfs",)
    programs = {"btrfs": "btrfs-progs"}
    partclone = "btrfs"
    grows = True
    holds_linux = True

    def unfit(self, device: str) -> Unfit | None:
        """Blocks of a log tree are in no other tree."""
        if not Superblock.read(device).log_root:
            return None
        return Unfit(DIRTY, "was not unmounted cleanly: start the master and shut it down")

    def map(self, device: str) -> Extents:
        """Return every copy of all that the extent tree has, the superblocks, and the last 4 KiB."""
        superblock, size = Superblock.read(device), size_of(device)
        if superblock.devices > 1:
            raise UnmappedError(f"it is one of {superblock.devices} devices of a filesystem, whose map may be on the others")
        with Trees(device, superblock) as trees:
            spans = [(0, _RESERVED), *((at, at + 4096) for at in _COPIES), *trees.used()]
        return widened(spans, size).with_tail(size, 4096)

    def length(self, device: str) -> int:
        """Return what the superblock says of this device."""
        return Superblock.read(device).length

    def member(self, device: str) -> Member | None:
        """Return which of several devices it is."""
        superblock = Superblock.read(device)
        if superblock.devices < 2:
            return None
        return Member(f"btrfs {superblock.fsid.hex()}", str(superblock.number), superblock.devices)

    def resize(self, device: str, size: int) -> None:
        """Grow, where that can be: the kernel gives none less than 256 MiB, and mounts no part of several without the others."""
        superblock = Superblock.read(device)
        if size < _LEAST or superblock.devices > 1:
            return
        with mounted(device, "rw", "btrfs") as folder:
            # Its device need not be number 1: others may have been there before.
            run(["btrfs", "filesystem", "resize", f"{superblock.number}:{size}", str(folder)], timeout=LONG)
