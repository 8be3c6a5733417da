# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partition tables, as the bytes that they are, so that what nobody asked to change stays as it was.

Partitions are known by their number, offsets and sizes are bytes.
"""

from __future__ import annotations

import struct
from typing import Protocol, Sequence, Tuple

from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.gpt import Gpt
from ansible_collections.reimage.lab.plugins.module_utils.disk.mbr import Mbr

Piece = Tuple[int, bytes]


class Table(Protocol):
    """A table that can be changed, and written as pieces of a disk."""

    def span(self, number: int) -> tuple[int, int]:
        """Return where a partition begins, and its size."""

    def place(self, number: int, start: int, size: int) -> None:
        """Have a partition begin at I(start) and have I(size)."""

    def entry(self, number: int) -> bytes:
        """Return a partition's own entry."""

    def put(self, number: int, entry: bytes) -> None:
        """Have an entry of another table as partition I(number)."""

    def keep_only(self, numbers: Sequence[int]) -> None:
        """Forget all other partitions, and the code that boots."""

    def cut(self, end: int) -> None:
        """Leave out what stands behind the table from byte I(end) on."""

    def container(self) -> tuple[int, int]:
        """Return start and size of the partition that holds others, or zeros without one."""

    def free_number(self) -> int:
        """Return the first number that no partition has."""

    def smallest_disk(self, end: int) -> int:
        """Return the size that a disk must have for partitions that end at byte I(end)."""

    def usable_end(self, disk_size: int) -> int:
        """Return where on a disk of I(disk_size) the last partition must have ended."""

    def pieces(self, disk_size: int) -> list[Piece]:
        """Return what to write where on a disk of I(disk_size), the piece with the first sector first."""


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
