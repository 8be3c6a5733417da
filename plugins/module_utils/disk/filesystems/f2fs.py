# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2FS.

It does not grow here: there is a resize.f2fs, but no kernel that runs the tests can say whether what it makes can be mounted.
"""

from __future__ import annotations

import re
import struct

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import DIRTY, Member, Unfit, read
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import Mapped

_SUPERBLOCK_AT = 1024
_BLOCK_SIZE_AT, _BLOCKS_AT, _UUID_AT, _DEVICES_AT = 16, 36, 108, 2201
_DEVICE, _DEVICES_MOST = 68, 8


class F2fs(Mapped):
    """F2FS."""

    names = ("f2fs",)
    programs = {"dump.f2fs": "f2fs-tools"}
    holds_linux = True

    def unfit(self, device: str) -> Unfit | None:
        """Blocks written since the last checkpoint, partclone has as free."""
        if _devices(_superblock(device)) > 1:
            return None  # nobody can tell from one of them
        state = re.search(
            r"^Info: checkpoint state = (.*)$",
            run(["dump.f2fs", device], accept=range(256)).stdout.decode(errors="replace"),
            re.M,
        )
        if state and "unmount" in state[1].split():
            return None
        return Unfit(DIRTY, "was not unmounted cleanly: start the master and shut it down")

    def length(self, device: str) -> int:
        """Return what the superblock says, unless that is of several devices."""
        data = _superblock(device)
        if _devices(data) > 1:
            return 0
        blocks, shift = struct.unpack_from("<Q", data, _BLOCKS_AT)[0], struct.unpack_from("<I", data, _BLOCK_SIZE_AT)[0]
        return int(blocks) << min(int(shift), 63)

    def member(self, device: str) -> Member | None:
        """Return which of several devices it is: the first; none knows the others but by the paths that they had."""
        data = _superblock(device)
        if _devices(data) < 2:
            return None
        return Member(f"F2FS {data[_UUID_AT : _UUID_AT + 16].hex()}", "1", _devices(data))


def _superblock(device: str) -> bytes:
    return read(device, _SUPERBLOCK_AT, 3072)


def _devices(superblock: bytes) -> int:
    """Return how many devices have a path, which one alone has not."""
    return sum(1 for number in range(_DEVICES_MOST) if superblock[_DEVICES_AT + number * _DEVICE])
