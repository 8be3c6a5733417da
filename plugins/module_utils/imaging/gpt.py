# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GUID partition table, as far as a restore to a disk of another size needs it.

Source: UEFI Specification 2.10, section 5.3.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")


@dataclass(frozen=True)
class Table:
    """The bytes of a disk that hold its partition table: its first ones, and its last ones."""

    head: bytes
    tail: bytes


def retarget(head: bytes, disk_size: int, sector: int) -> Table:
    """Return a table whose second copy, and whose end of the usable space, are where a disk of I(disk_size) has them.

    :param head: The first bytes of a disk, from the protective MBR to the first partition.
    :raises ImagingError: The table is damaged.
    """
    fields = list(_HEADER.unpack_from(head, sector))
    signature, header_size, entries_lba, count, entry_size = fields[0], fields[2], fields[10], fields[11], fields[12]
    if signature != b"EFI PART" or not _HEADER.size <= header_size <= sector:
        raise ImagingError("the first bytes of the disk do not hold a GUID partition table")
    entries = head[entries_lba * sector : entries_lba * sector + count * entry_size]
    if len(entries) != count * entry_size or zlib.crc32(entries) != fields[13]:
        raise ImagingError("the GUID partition table is damaged: its entries do not match their checksum")
    entry_sectors = -(-len(entries) // sector)
    last = disk_size // sector - 1
    fields[8] = last - entry_sectors - 1
    primary = _pack([*fields[:5], 1, last, *fields[7:10], entries_lba, *fields[11:]], header_size)
    backup = _pack([*fields[:5], last, 1, *fields[7:10], last - entry_sectors, *fields[11:]], header_size)
    changed = bytearray(head)
    changed[sector : sector + header_size] = primary
    # The protective MBR covers the disk, as far as 32 bits go.
    if changed[450] == 0xEE:
        changed[458:462] = struct.pack("<I", min(last, 0xFFFFFFFF))
    return Table(bytes(changed), entries.ljust(entry_sectors * sector, b"\0") + backup.ljust(sector, b"\0"))


def smallest_disk(head: bytes, label: str, sector: int, end: int) -> int:
    """Return the bytes that a disk must have so that partitions that end at byte I(end) fit, with the table behind them."""
    if label != "gpt":
        return end
    fields = _HEADER.unpack_from(head, sector)
    table: int = (-(-fields[11] * fields[12] // sector) + 1) * sector
    return end + table


def _pack(fields: list[object], header_size: int) -> bytes:
    fields[3] = 0
    data = _HEADER.pack(*fields).ljust(header_size, b"\0")
    fields[3] = zlib.crc32(data)
    return _HEADER.pack(*fields).ljust(header_size, b"\0")
