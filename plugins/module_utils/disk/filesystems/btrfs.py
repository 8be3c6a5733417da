# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Btrfs."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import DIRTY, LONG, Unfit, read
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import Mapped
from ansible_collections.reimage.lab.plugins.module_utils.disk.mount import mounted

_LOG_ROOT_AT, _LOG_ROOT_SIZE = (64 << 10) + 96, 8  # in the superblock


class Btrfs(Mapped):
    """Btrfs, which grows here, though it could shrink: that takes a mount of the whole.

    It is not checked: it has checksums of its own, and checking all of them takes as much memory as there is metadata.
    """

    names = ("btrfs",)
    programs = {"btrfs": "btrfs-progs"}
    grows = True
    holds_linux = True

    def unfit(self, device: str) -> Unfit | None:
        """Blocks of a log tree are in no other tree, so partclone has them as free."""
        if not any(read(device, _LOG_ROOT_AT, _LOG_ROOT_SIZE)):
            return None
        return Unfit(DIRTY, "was not unmounted cleanly: start the master and shut it down")

    def resize(self, device: str, size: int) -> None:
        """Grow."""
        with mounted(device, "rw", "btrfs") as folder:
            run(["btrfs", "filesystem", "resize", str(size), str(folder)], timeout=LONG)
