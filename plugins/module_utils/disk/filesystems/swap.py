# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Swap."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import HIBERNATED, Filesystem, Unfit, size_of

_HEADER = 4096


class Swap(Filesystem):
    """Swap, or what swap is called while a Linux that hibernated is in it."""

    names = ("swap", "swsuspend")
    holds_data = False

    def map(self, device: str) -> Extents:
        """Return the header, with UUID and label; the rest means nothing to the next system."""
        return Extents([(0, min(size_of(device), _HEADER))])

    def unfit(self, device: str) -> Unfit | None:
        """It holds a system that is asleep."""
        if self.name == "swap":
            return None
        return Unfit(HIBERNATED, "holds a hibernated system: start the master and shut it down")
