# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures: the few bytes by which other software knows a filesystem, a RAID member, a partition table.

Source: libblkid, which udev, mount and mdadm's rules go by, asked as wipefs does; and, of the copies that it does not look for,
the on-disk formats of Btrfs, F2FS, JFS and ZFS. The library is asked, and not wipefs: a region would have to be a loop device for
it, and there are many regions.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import lru_cache
from itertools import chain
from typing import Iterator, NamedTuple

from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError

# BLKID_SUBLKS_TYPE, _MAGIC, _BADCSUM; BLKID_PARTS_FORCE_GPT (without a protective MBR), _MAGIC.
_SUPERBLOCKS, _TABLES = 1 << 5 | 1 << 9 | 1 << 10, 1 << 1 | 1 << 3
_MOST = 4096  # four labels of ZFS have 512 uberblocks
_COPIES = [
    *(("btrfs", b"_BHRfS_M", at + 64) for at in (64 << 20, 256 << 30, 1 << 50)),
    ("f2fs", struct.pack("<I", 0xF2F52010), 0x1400),
    ("jfs", b"JFS1", 0xF000),
]
_ZFS_LABEL = 256 << 10
# The description of the pool in a label ends with this, and 32 bytes of checksum. libblkid counts the uberblocks behind it.
_ZFS_MARK, _ZFS_MARK_AT = 0x0210DA7AB10C7A11, (128 << 10) - 40


class Signature(NamedTuple):
    """Where a signature begins on its disk, in bytes, and what libblkid calls it."""

    offset: int
    name: str


def signatures(device: Device, start: int, size: int) -> list[Signature]:
    """Return all signatures that other software finds in a region of a disk that it takes for a disk or a partition."""
    found = chain(_listed(device, start, size), _copies(device, start, size))
    return [Signature(start + offset, name) for offset, name in found]


def _listed(device: Device, start: int, size: int) -> Iterator[tuple[int, str]]:
    """Yield what libblkid finds; each find is hidden from it, so that it finds what was behind."""
    library = _library()
    probe = ctypes.c_void_p(library.blkid_new_probe())
    # It moves the file's position, which threads would share.
    file = os.open(device.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if library.blkid_probe_set_device(probe, file, ctypes.c_int64(start), ctypes.c_int64(size)):
            raise DiskError(f"disk {device.path}: libblkid cannot read the {size} bytes at byte {start}")
        library.blkid_probe_enable_superblocks(probe, 1)
        library.blkid_probe_set_superblocks_flags(probe, _SUPERBLOCKS)
        library.blkid_probe_enable_partitions(probe, 1)
        library.blkid_probe_set_partitions_flags(probe, _TABLES)
        for _time in range(_MOST):
            if library.blkid_do_probe(probe):
                return
            for kind, offset, magic in (("TYPE", "SBMAGIC_OFFSET", "SBMAGIC"), ("PTTYPE", "PTMAGIC_OFFSET", "PTMAGIC")):
                found = _value(library, probe, offset)
                if found:
                    at = int(found.rstrip(b"\0"))
                    yield at, _value(library, probe, kind).rstrip(b"\0").decode(errors="replace")
                    length = len(_value(library, probe, magic))
                    library.blkid_probe_hide_range(probe, ctypes.c_uint64(at), ctypes.c_uint64(length))
                    library.blkid_probe_step_back(probe)
    finally:
        library.blkid_free_probe(probe)
        os.close(file)


def _value(library: ctypes.CDLL, probe: ctypes.c_void_p, name: str) -> bytes:
    data, length = ctypes.c_void_p(), ctypes.c_size_t()
    if library.blkid_probe_lookup_value(probe, name.encode(), ctypes.byref(data), ctypes.byref(length)):
        return b""
    return ctypes.string_at(data, length.value)


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libblkid.so.1")
    except OSError as error:
        raise DiskError("libblkid is not installed here: it is needed to find what other software reads on a disk") from error
    library.blkid_new_probe.restype = ctypes.c_void_p
    return library


def _copies(device: Device, start: int, size: int) -> Iterator[tuple[int, str]]:
    end = size // _ZFS_LABEL * _ZFS_LABEL
    labels = [at + _ZFS_MARK_AT for at in (0, _ZFS_LABEL, end - 2 * _ZFS_LABEL, end - _ZFS_LABEL)]
    marks = [struct.pack(order + "Q", _ZFS_MARK) for order in "<>"]
    for name, magic, at in [*_COPIES, *(("zfs_member", mark, at) for mark in marks for at in labels)]:
        if 0 <= at <= size - len(magic) and device.read(start + at, len(magic)) == magic:
            yield at, name
