# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ext2, ext3 and ext4, and their journals on devices of their own. Source: the kernel's fs/ext4/ext4.h."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, require, run
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents, widened
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import (
    DIRTY,
    LONG,
    Filesystem,
    Member,
    Unfit,
    UnmappedError,
    read,
    size_of,
)

_SUPERBLOCK_AT, _SUPERBLOCK_SIZE = 1024, 1024
_CLEAN = 1  # the whole of the state, where there was no error either
_HAS_JOURNAL = 0x4
_NEEDS_RECOVERY, _LONG_NUMBERS = 0x4, 0x80
_SHORT_NUMBER, _SHORT_DESCRIPTOR = (1 << 32) - 1, 32
_USERS_AT = 64  # of the journal's own superblock, in the block behind the filesystem's


class Ext(Filesystem):
    """ext2, ext3 or ext4, through e2fsprogs.

    It has the map: partclone 0.3.23 fails at clusters of several blocks (bigalloc), and where a check at mounting is due.
    """

    names = ("ext2", "ext3", "ext4")
    programs = dict.fromkeys(("dumpe2fs", "e2fsck", "resize2fs"), "e2fsprogs")
    grows = True
    holds_linux = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.partclone = name

    def unfit(self, device: str) -> Unfit | None:
        """It is dirty while its journal has something to replay, or it was never unmounted."""
        superblock = _Superblock.read(device)
        if superblock.state == _CLEAN and not superblock.incompatible & _NEEDS_RECOVERY:
            return None
        return Unfit(DIRTY, "was not unmounted cleanly: start the master and shut it down")

    def map(self, device: str) -> Extents:
        """Return all that dumpe2fs does not call free, and the last 4 KiB."""
        superblock, size = _Superblock.read(device), size_of(device)
        require("dumpe2fs", f"read which blocks of {self.name} are used")
        try:
            said = run(["dumpe2fs", device], timeout=LONG).stdout
        except CommandError as error:
            raise UnmappedError("dumpe2fs cannot tell which of its blocks are used") from error
        spans, begin, free = [], 0, 0
        for line in re.findall(rb"^  Free blocks: (.+)$", said, re.MULTILINE):
            for first, last in re.findall(rb"(\d+)(?:-(\d+))?", line):
                spans.append((begin, int(first) * superblock.block))
                behind = int(last or first) + superblock.per_cluster  # dumpe2fs names the first block of a cluster
                begin = behind * superblock.block
                free += behind - int(first)
        if free != superblock.free:
            raise UnmappedError("its bitmaps do not add up (e2fsck -f tells more)")
        return widened([*spans, (begin, superblock.length)], size).with_tail(size, 4096)

    def length(self, device: str) -> int:
        """Return what the superblock says."""
        return _Superblock.read(device).length

    def member(self, device: str) -> Member | None:
        """Return what it is to a journal on another device."""
        superblock = _Superblock.read(device)
        if superblock.journal is None:
            return None
        return Member(f"journal {superblock.journal.hex()}", superblock.uuid.hex(), 2)

    def largest(self, device: str) -> int:
        """Return how far resize2fs 1.47 goes, in an acceptable time.

        One group of blocks must have room for the descriptors of all. Half of a group is taken for them: with more it works for
        hours. Where there is no whole group, it only fills the blocks that mkfs reserved for descriptors.
        """
        superblock = _Superblock.read(device)
        if not superblock.is_resizable:
            return size_of(device)
        group = superblock.group * superblock.block
        described = superblock.block // superblock.descriptor * group  # by one block of descriptors
        most = (-(-superblock.length // described) + superblock.reserved) * described
        if superblock.length >= group:
            most = max(most, superblock.group // 2 * described)
        return most if superblock.incompatible & _LONG_NUMBERS else min(most, superblock.block * _SHORT_NUMBER)

    def estimate(self, device: str) -> int:
        """Return what resize2fs thinks."""
        if not _Superblock.read(device).is_resizable:
            return 0
        blocks = re.search(rb": (\d+)\s*$", run(["resize2fs", "-P", device], timeout=LONG).stdout)
        return int(blocks[1]) * _Superblock.read(device).block if blocks else 0

    def resize(self, device: str, size: int) -> None:
        """Grow or shrink."""
        run(["e2fsck", "-f", "-y", device], accept=(0, 1), timeout=LONG)
        run(["resize2fs", device, f"{size // 1024}K"], timeout=LONG)

    def check(self, device: str) -> None:
        """Look at all of its structures."""
        run(["e2fsck", "-f", "-n", device], timeout=LONG)


class Journal(Filesystem):
    """The journal of an ext3 or ext4, or of several, on a device of its own."""

    names = ("jbd",)
    holds_data = False

    def member(self, device: str) -> Member | None:
        """Return what it is to the filesystems that use it."""
        superblock = _Superblock.read(device)
        block = max(superblock.block, _SUPERBLOCK_AT + _SUPERBLOCK_SIZE)
        (users,) = struct.unpack(">I", read(device, block + _USERS_AT, 4))
        return Member(f"journal {superblock.uuid.hex()}", "journal", 1 + users) if users else None


@dataclass(frozen=True)
class _Superblock:
    """The fields of it that matter here; I(free) and I(per_cluster) are in blocks, sizes in bytes.

    I(journal) is the UUID of one on another device. I(group) is the blocks of a group, I(descriptor) the bytes that describe one,
    and I(reserved) the blocks for more of those.
    """

    uuid: bytes
    block: int
    length: int
    free: int
    per_cluster: int
    state: int
    incompatible: int
    journal: bytes | None
    group: int
    descriptor: int
    reserved: int

    @property
    def is_resizable(self) -> bool:
        """Whether resize2fs takes it: without a journal that is elsewhere it cannot be checked, and clusters are refused."""
        return self.journal is None and self.per_cluster == 1 and self.group > 0 < self.descriptor <= self.block

    @classmethod
    def read(cls, device: str) -> _Superblock:
        data = read(device, _SUPERBLOCK_AT, _SUPERBLOCK_SIZE)
        (blocks,) = struct.unpack_from("<I", data, 0x4)
        (free,) = struct.unpack_from("<I", data, 0xC)
        block, cluster = struct.unpack_from("<II", data, 0x18)
        (state,) = struct.unpack_from("<H", data, 0x3A)
        compatible, incompatible = struct.unpack_from("<II", data, 0x5C)
        journal, number = data[0xD0:0xE0], struct.unpack_from("<I", data, 0xE0)[0]
        if incompatible & _LONG_NUMBERS:
            blocks |= struct.unpack_from("<I", data, 0x150)[0] << 32
            free |= struct.unpack_from("<I", data, 0x158)[0] << 32
        per_cluster = 1 << max(0, min(cluster - block, 31))
        block = 1024 << min(block, 6)
        elsewhere = compatible & _HAS_JOURNAL and not number
        journal_elsewhere = journal if elsewhere else None
        (group,) = struct.unpack_from("<I", data, 0x20)
        (reserved,) = struct.unpack_from("<H", data, 0xCE)
        descriptor = struct.unpack_from("<H", data, 0xFE)[0] if incompatible & _LONG_NUMBERS else _SHORT_DESCRIPTOR
        growth = (group, descriptor, reserved)
        return cls(data[0x68:0x78], block, blocks * block, free, per_cluster, state, incompatible, journal_elsewhere, *growth)
