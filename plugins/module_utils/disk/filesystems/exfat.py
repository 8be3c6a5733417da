# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""exFAT."""

from __future__ import annotations

import struct

from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import DIRTY, Unfit, read
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import Mapped

# In the boot sector.
_LENGTH_AT, _FLAGS_AT, _SECTOR_SHIFT_AT = 72, 106, 108
_VOLUME_DIRTY = 2


class Exfat(Mapped):
    """exFAT."""

    names = ("exfat",)

    def unfit(self, device: str) -> Unfit | None:
        """It says itself that it is being written to."""
        if not read(device, _FLAGS_AT, 1)[0] & _VOLUME_DIRTY:
            return None
        return Unfit(DIRTY, "was not unmounted cleanly: on the master run chkdsk /f or fsck.exfat, and shut it down")

    def length(self, device: str) -> int:
        """Return what the boot sector says."""
        (sectors,) = struct.unpack("<Q", read(device, _LENGTH_AT, 8))
        return int(sectors) << read(device, _SECTOR_SHIFT_AT, 1)[0]
