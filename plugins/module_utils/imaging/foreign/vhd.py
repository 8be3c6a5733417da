# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The footer of a VHD.

Source: Microsoft, "Virtual Hard Disk Image Format Specification", 2006.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.sniffing import VHD_COOKIE, VHD_FOOTER

_FOOTER = struct.Struct(">8s40xQ4xI")
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4


@dataclass(frozen=True)
class Vhd:
    """What a VHD says of itself: the bytes of the disk, and whether these are all there, one after the other."""

    size: int
    is_fixed: bool


def read_vhd(path: Path, offset: int, length: int) -> Vhd:
    """Read the footer of a VHD, which begins somewhere in a file.

    :raises ImagingError: There is none, it is cut off, or needs another file.
    """
    with path.open("rb") as file:
        file.seek(offset + length - VHD_FOOTER)
        tail = file.read(VHD_FOOTER)
    if len(tail) < _FOOTER.size or not tail.startswith(VHD_COOKIE):
        raise ImagingError(f"{path} is truncated: its last {VHD_FOOTER} bytes, which describe it, are missing; copy it again")
    _cookie, size, kind = _FOOTER.unpack_from(tail)
    if kind == _DIFFERENCING:
        raise ImagingError(f"{path} is no disk of its own, only what differs from another VHD: merge them with Hyper-V first")
    if kind not in (_FIXED, _DYNAMIC):
        raise ImagingError(f"{path} is damaged: no VHD is of type {kind}")
    if kind == _FIXED and size > length - VHD_FOOTER:
        raise ImagingError(f"{path} is truncated: it has {length - VHD_FOOTER} bytes of {size}")
    return Vhd(size, kind == _FIXED)
