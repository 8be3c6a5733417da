# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the partitions of a disk are, as sfdisk and blkid say."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem


@dataclass(frozen=True)
class TableEntry:
    """A partition as the table of its disk, and sfdisk, describe it; I(start) and I(size) are bytes.

    I(node) is what the kernel would call it. Only a GPT has I(uuid) (PARTUUID) and I(name); they are empty otherwise.
    """

    node: str
    number: int
    start: int
    size: int
    type: str
    uuid: str = ""
    name: str = ""

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.start + self.size


def read_partitions(device: Device) -> tuple[str, list[TableEntry]]:
    """Return the kind of a disk's table, such as C(gpt) or C(dos), and its partitions."""
    try:
        said = run(["sfdisk", "--json", device.path]).stdout
        # Before it there may be remarks, as on a logical partition that was deleted.
        table = json.loads(said[said.index(b"{") :])["partitiontable"]
    except CommandError as error:
        raise DiskError(f"disk {device.path}: there is no partition table: {unpartitioned(device) or error}") from error
    sector = device.sector_size
    return table["label"], [
        TableEntry(
            row["node"],
            int(row["node"][len(device.path) :].lstrip("p")),
            row["start"] * sector,
            row["size"] * sector,
            row["type"],
            row.get("uuid", ""),
            row.get("name", ""),
        )
        for row in table.get("partitions", [])
    ]


def unpartitioned(device: Device) -> str:
    """Return what to tell a person of a disk that holds something else than partitions, nothing if blkid does not know it.

    FAT, NTFS and exFAT begin with the mark of a partition table, which is then an empty one.
    """
    kind = blkid(device.path, 0, device.size).get("TYPE")
    return f"it holds {kind} itself; put that into a partition of another disk, and take that disk" if kind else ""


def blkid(path: str, start: int, size: int) -> dict[str, str]:
    """Return what blkid says of a region of a disk, such as TYPE and LABEL, read from the disk itself.

    It says nothing of what it does not know, nor of what has signatures of several filesystems.
    """
    arguments = ["blkid", "--probe", "--output", "export", "--offset", str(start), "--size", str(size), path]
    lines = run(arguments, accept=(0, 2, 8)).stdout.decode(errors="replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def used_now(path: str, start: int, size: int, kind: str, sector: int) -> Extents:
    """Return the used bytes of a filesystem of some kind as it is at this moment."""
    with loop_device(path, start, size, sector) as loop:
        return filesystem(kind).used(loop)
