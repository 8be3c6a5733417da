# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""XFS."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import DIRTY, LONG, Unfit
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import Mapped
from ansible_collections.reimage.lab.plugins.module_utils.disk.mount import mounted


class Xfs(Mapped):
    """XFS, which only grows."""

    names = ("xfs",)
    programs = dict.fromkeys(("xfs_growfs", "xfs_logprint", "xfs_repair"), "xfsprogs")
    grows = True
    holds_linux = True

    def unfit(self, device: str) -> Unfit | None:
        """Blocks that only its log has as allocated, partclone has as free."""
        if b"state: <CLEAN>" in run(["xfs_logprint", "-t", device]).stdout:
            return None
        return Unfit(DIRTY, "was not unmounted cleanly: start the master and shut it down")

    def resize(self, device: str, size: int) -> None:
        """Grow to the end of the device."""
        # nouuid: the same filesystem may be mounted from the disk that it was captured from.
        with mounted(device, "rw,nouuid", "xfs") as folder:
            run(["xfs_growfs", str(folder)], timeout=LONG)

    def check(self, device: str) -> None:
        """Look at all of its structures."""
        run(["xfs_repair", "-n", device], timeout=LONG)
