# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ext2, ext3 and ext4."""

from __future__ import annotations

import re

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import DIRTY, LONG, Unfit
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import Mapped


class Ext(Mapped):
    """ext2, ext3 or ext4, through e2fsprogs."""

    names = ("ext2", "ext3", "ext4")
    programs = dict.fromkeys(("dumpe2fs", "e2fsck", "resize2fs"), "e2fsprogs")
    grows = True
    holds_linux = True

    def unfit(self, device: str) -> Unfit | None:
        """It is dirty while its journal has something to replay, or it was never unmounted."""
        said = _superblock(device)
        if "needs_recovery" not in said and re.search(r"^Filesystem state:\s+clean$", said, re.MULTILINE):
            return None
        return Unfit(DIRTY, "was not unmounted cleanly: start the master and shut it down")

    def estimate(self, device: str) -> int:
        """Return what resize2fs thinks."""
        blocks = re.search(rb": (\d+)\s*$", run(["resize2fs", "-P", device], timeout=LONG).stdout)
        block = re.search(r"^Block size:\s+(\d+)", _superblock(device), re.MULTILINE)
        return int(blocks[1]) * int(block[1]) if blocks and block else 0

    def resize(self, device: str, size: int) -> None:
        """Grow or shrink."""
        run(["e2fsck", "-f", "-y", device], accept=(0, 1), timeout=LONG)
        run(["resize2fs", device, f"{size // 1024}K"], timeout=LONG)

    def check(self, device: str) -> None:
        """Look at all of its structures."""
        run(["e2fsck", "-f", "-n", device], timeout=LONG)


def _superblock(device: str) -> str:
    return run(["dumpe2fs", "-h", device]).stdout.decode(errors="replace")
