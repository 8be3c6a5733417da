# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""BitLocker, which nobody here can read."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import Filesystem, Unfit, read

_MARK_AT, _MARK = 3, b"-FVE-FS-"


class Bitlocker(Filesystem):
    """A volume that Windows encrypted. A copy of it would open on no other machine."""

    names = ("BitLocker",)

    def unfit(self, device: str) -> Unfit | None:
        """It always is."""
        return Unfit(
            "",
            "is encrypted with BitLocker: switch that off on the master (manage-bde -off C:), wait until it is decrypted, and"
            " capture again",
        )


def is_marked(device: str) -> bool:
    """Return whether a device has the mark of BitLocker, whatever blkid calls it."""
    return read(device, _MARK_AT, len(_MARK)) == _MARK
