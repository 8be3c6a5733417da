# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of a software RAID. Source: the kernel's include/uapi/linux/raid/md_p.h."""

from __future__ import annotations

import struct

from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import (
    Filesystem,
    Member,
    UnmappedError,
    read,
    size_of,
)

_MAGIC = struct.pack("<II", 0xA92B4EFC, 1)  # of format 1; who still has 0.90 boots from a mirror
_SUPERBLOCK = struct.Struct("<16s16s32sQiIQII64xI")
_AT_SIZE = 4096
_LINEAR = -1


class Md(Filesystem):
    """A part of a RAID by Linux. Nobody looks at its content."""

    names = ("linux_raid_member",)

    def map(self, device: str) -> Extents:
        """Return nothing: a mirror lacks its other half on each machine."""
        raise UnmappedError("it is part of a RAID, and of its parts on other disks the image has none")

    def member(self, device: str) -> Member | None:
        """Return which part it is, and how many make the whole readable."""
        # Formats 1.1, 1.2, and 1.0, at the end.
        for at in (0, 4096, max(0, size_of(device) // 512 - 16) // 8 * 4096):
            data = read(device, at, _AT_SIZE)
            if data.startswith(_MAGIC):
                _magic, uuid, _name, _made, level, layout, _size, _chunk, parts, number = _SUPERBLOCK.unpack_from(data)
                return Member(f"RAID {uuid.hex()}", str(number), _needed(level, layout, parts))
        return None


def _needed(level: int, layout: int, parts: int) -> int:
    if level in (0, _LINEAR):
        return parts
    if level == 10:
        copies = max(1, layout & 0xFF) * max(1, layout >> 8 & 0xFF)
        return -(-parts // copies)
    return parts - {4: 1, 5: 1, 6: 2}.get(level, parts - 1)
