# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""XFS."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import (
    DIRTY,
    LONG,
    Filesystem,
    Member,
    Unfit,
    UnmappedError,
    read,
)
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import Mapped
from ansible_collections.reimage.lab.plugins.module_utils.disk.mount import mounted

_LOG_SEARCHED = 256 << 10  # of the start of a log, as much as blkid does
_LOG_RECORD, _LOG_RECORD_OWNER = b"\xfe\xed\xba\xbe", slice(304, 320)


class Xfs(Mapped):
    """XFS, which only grows."""

    names = ("xfs",)
    programs = dict.fromkeys(("xfs_growfs", "xfs_logprint", "xfs_repair"), "xfsprogs")
    grows = True
    holds_linux = True

    def unfit(self, device: str) -> Unfit | None:
        """Blocks that only its log has as allocated, partclone has as free."""
        if _Superblock.read(device).elsewhere:
            return None  # partclone maps none of these, so the log comes along whole, and is replayed where the image goes
        if b"state: <CLEAN>" in run(["xfs_logprint", "-t", device], accept=range(256)).stdout:
            return None
        return Unfit(DIRTY, "was not unmounted cleanly: start the master and shut it down")

    def map(self, device: str) -> Extents:
        """Return what partclone maps, which does nothing that has a part elsewhere."""
        if _Superblock.read(device).elsewhere:
            raise UnmappedError("it has its log, or the data of files, on another device")
        return super().map(device)

    def length(self, device: str) -> int:
        """Return what the superblock says."""
        return _Superblock.read(device).length

    def member(self, device: str) -> Member | None:
        """Return what it is to its log, or data of files, on another device."""
        superblock = _Superblock.read(device)
        return Member(superblock.name, "data", 1 + superblock.elsewhere) if superblock.elsewhere else None

    def resize(self, device: str, size: int) -> None:
        """Grow to the end of the device, unless it cannot be mounted by itself."""
        if _Superblock.read(device).elsewhere:
            return
        # nouuid: the same filesystem may be mounted from the disk that it was captured from.
        with mounted(device, "rw,nouuid", "xfs") as folder:
            run(["xfs_growfs", str(folder)], timeout=LONG)

    def check(self, device: str) -> None:
        """Look at all of its structures, if they are here."""
        if _Superblock.read(device).elsewhere:
            return
        run(["xfs_repair", "-n", device], timeout=LONG)


class Log(Filesystem):
    """The log of an XFS on a device of its own."""

    names = ("xfs_external_log",)
    holds_data = False

    def member(self, device: str) -> Member | None:
        """Return what it is to its filesystem."""
        data = read(device, 0, _LOG_SEARCHED)
        records = (data[at : at + 512] for at in range(0, len(data), 512) if data[at : at + 4] == _LOG_RECORD)
        owner = next(records, b"")[_LOG_RECORD_OWNER]
        return Member(f"XFS {owner.hex()}", "log", 2)


class _Superblock(NamedTuple):
    """The fields of it that matter here; I(elsewhere) is how many other devices it has."""

    name: str
    length: int
    elsewhere: int

    @classmethod
    def read(cls, device: str) -> _Superblock:
        block, blocks, realtime, _extents, uuid, log = struct.unpack(">4xIQQQ16sQ", read(device, 0, 56))
        return cls(f"XFS {uuid.hex()}", block * blocks, (realtime > 0) + (log == 0))
