# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a file is, by its bytes: one that is read here, or one of which a person is told what to make of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign import partclone, streams

RAW, OVA, VHD, COMPRESSED = "raw", "ova", "vhd", "compressed"
VHD_COOKIE = b"conectix"
VHD_FOOTER = 512
_TAR = b"ustar"
_TAR_AT = 257
_MAGIC = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
    (0, VHD_COOKIE, VHD),
    (0, partclone.MAGIC, COMPRESSED),
)
_CONVERT = "convert it first: qemu-img convert -O qcow2 {name} {name}.qcow2"
_UNPACK = "unpack it, and import the disk that is in it"
_RESTORE = "restore it to a virtual machine with the program that made it, and import that machine's disk"
# What people have tried to import: where its mark is, what it is, and what to do.
_OTHER = (
    (0, b"QED\0", "a QED disk", _CONVERT),
    (0, b"WithoutFreeSpace", "a disk of Parallels", _CONVERT),
    (0, b"WithouFreSpacExt", "a disk of Parallels", _CONVERT),
    (0, b"COWD", "a disk of an old VMware", _CONVERT),
    (0, b"PK\3\4", "a ZIP archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (
        0,
        b"MSWIM\0\0\0",
        "a WIM, which holds files, not a disk",
        "install it in a virtual machine, and import its disk",
    ),
    (0, b"\xfe\xef\1", "an image of Symantec Ghost", _RESTORE),
    (0, b"PARTIMAG-VOLUME", "an image of one partition by Partimage", _RESTORE),
    (0, b"\0ntfsclone-image", "an image of one partition by ntfsclone", _RESTORE),
    (0, b"EVF\x09\r\n\xff\0", "an EnCase image", _RESTORE),
    (0, b"hsqs", "a squashfs, which holds files, not a disk", "start the system that it is of, and capture that"),
    (0, b"\x3a\xff\x26\xed", "a sparse image of Android", "unpack it with simg2img, and import the result"),
)
_HEAD = 512


def sniff(path: Path) -> str:
    """Return the format of a file or disk: C(RAW) if it has no mark at all.

    :raises ImagingError: It cannot be read, or is something that is not read here; the message says what, and what to do.
    """
    try:
        with path.open("rb") as file:
            size = os.lseek(file.fileno(), 0, os.SEEK_END)
            head, tail = _ends(file, 0, size)
    except OSError as error:
        raise ImagingError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise ImagingError(f"{path} is empty: copy it again")
    found = _marked(head, b"" if path.is_block_device() else tail)
    if found or path.is_block_device():
        return found or RAW
    if head.startswith(_TAR, _TAR_AT):
        return OVA
    if streams.kind_of(head) != streams.PLAIN:
        return COMPRESSED
    for offset, magic, what, advice in _OTHER:
        if head.startswith(magic, offset):
            raise ImagingError(f"{path} is {what}, which is not read here: {advice.format(name=path.name)}")
    if size < _HEAD:
        raise ImagingError(f"{path} has {size} bytes, and the smallest disk has more: it is truncated, or something else")
    return RAW


def sniff_part(path: Path, offset: int, size: int) -> str:
    """Return the format of what lies somewhere in a file, nothing if it has no mark."""
    with path.open("rb") as file:
        return _marked(*_ends(file, offset, size))


def _ends(file: BinaryIO, offset: int, size: int) -> tuple[bytes, bytes]:
    file.seek(offset)
    head = file.read(min(size, _HEAD))
    file.seek(offset + max(0, size - VHD_FOOTER))
    return head, file.read(min(size, VHD_FOOTER))


def _marked(head: bytes, tail: bytes) -> str:
    """A fixed VHD is the bytes of the disk, and has its mark behind them."""
    found = next((kind for offset, magic, kind in _MAGIC if head.startswith(magic, offset)), "")
    return found or (VHD if tail.startswith(VHD_COOKIE) else "")
