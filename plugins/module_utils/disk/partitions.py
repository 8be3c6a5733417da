# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the partitions of a disk are, as sfdisk and blkid say."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem


def read_partitions(device: Device) -> tuple[str, list[dict[str, Any]]]:
    """Return the kind of a disk's table, and its partitions as sfdisk describes them, I(number) added."""
    try:
        said = run(["sfdisk", "--json", device.path]).stdout
        # Before it there may be remarks, as on a logical partition that was deleted.
        table = json.loads(said[said.index(b"{") :])["partitiontable"]
    except CommandError as error:
        raise DiskError(f"disk {device.path}: there is no partition table: {error}") from error
    partitions = table.get("partitions", [])
    for partition in partitions:
        partition["number"] = int(partition["node"][len(device.path) :].lstrip("p"))
    return table["label"], partitions


def blkid(path: str, start: int, size: int) -> dict[str, str]:
    """Return what blkid says of a region of a disk, such as TYPE and LABEL, read from the disk itself."""
    arguments = ["blkid", "--probe", "--output", "export", "--offset", str(start), "--size", str(size), path]
    lines = run(arguments, accept=(0, 2)).stdout.decode(errors="replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def used_now(path: str, start: int, size: int, kind: str, sector: int) -> Extents:
    """Return the used bytes of a filesystem of some kind as it is at this moment."""
    with loop_device(path, start, size, sector) as loop:
        return filesystem(kind).used(loop)
