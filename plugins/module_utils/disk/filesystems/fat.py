# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""FAT12, FAT16 and FAT32."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import DIRTY, Unfit
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import Mapped


class Fat(Mapped):
    """FAT."""

    names = ("vfat",)

    def unfit(self, device: str) -> Unfit | None:
        """Windows did not finish. The mark that Linux makes means less: the table that says what is used is whole."""
        try:
            self.map(device)
        except CommandError as error:
            if b"isn't in valid state" not in error.stderr:
                raise
            advice = "was not unmounted cleanly: on the master run chkdsk /f or fsck.fat -a, and shut it down"
            return Unfit(DIRTY, advice)
        return None
