# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partition tables, changed as bytes: everything that nobody asked to change stays as it was.

A number identifies a partition. Offsets and sizes are in bytes.
"""

from __future__ import annotations

import struct
from typing import Protocol, Sequence, Tuple

from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.gpt import Gpt
from ansible_collections.reimage.lab.plugins.module_utils.disk.mbr import Mbr

Piece = Tuple[int, bytes]


class Table(Protocol):
    """A table that can be changed, and then written as pieces of a disk."""

    def span(self, number: int) -> tuple[int, int]:
        """Return a partition's start and size."""

    def front(self, number: int) -> int:
        """Return where a partition begins, with the sector before it that describes it, if there is one."""

    def place(self, number: int, start: int, size: int) -> None:
        """Give a partition another start and size."""

    def entry(self, number: int) -> bytes:
        """Return a partition's own entry."""

    def put(self, number: int, entry: bytes) -> None:
        """Make an entry of another table partition I(number)."""

    def keep_only(self, numbers: Sequence[int]) -> None:
        """Remove all other partitions, and the boot code."""

    def cut(self, end: int) -> None:
        """Leave out the bytes behind the table, from byte I(end) on."""

    def container(self) -> tuple[int, int]:
        """Return start and size of the partition that contains others, or zeros without one."""

    def free_number(self) -> int:
        """Return the first number that no partition has."""

    def smallest_disk(self, end: int) -> int:
        """Return the size that a disk must have for partitions that end at byte I(end)."""

    def usable_end(self, disk_size: int) -> int:
        """Return the offset at which the last partition on a disk of I(disk_size) must have ended."""

    def pieces(self, disk_size: int) -> list[Piece]:
        """Return the pieces to write on a disk of I(disk_size), the one with the first sector first."""


def open_table(label: str, head: bytes, links: Sequence[Piece], sector: int) -> Table:
    """Return the table of kind I(label), C(gpt) or C(dos).

    :param head: The first bytes of the disk, up to the first partition.
    :param links: The sectors that describe the logical partitions of an MBR, in their order.
    :raises DiskError: The table is damaged.
    """
    try:
        return Gpt(head, sector) if label == "gpt" else Mbr(head, links, sector)
    except struct.error as error:
        raise DiskError("the partition table is damaged: it is too short") from error
