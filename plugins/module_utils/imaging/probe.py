# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on a disk: its table, its partitions, their filesystems, and which of their bytes are used."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.imaging.device import Device, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.extents import Extents, parse_ddrescue_map
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import LARGEST_HEAD, Region

# The name of a filesystem for blkid, and for partclone.
PARTCLONE = {
    "ext2": "ext2",
    "ext3": "ext3",
    "ext4": "ext4",
    "vfat": "vfat",
    "exfat": "exfat",
    "ntfs": "ntfs",
    "xfs": "xfs",
    "btrfs": "btrfs",
}
_EXTENDED = ("5", "f", "85")
_MAP_TIMEOUT = 1800


def read_table(device: Device) -> tuple[str, bytes, list[dict[str, Any]]]:
    """Return the kind of a disk's table (C(gpt), C(dos)), the bytes before the first partition, sfdisk's partitions."""
    try:
        table = json.loads(run(["sfdisk", "--json", device.path]).stdout)["partitiontable"]
    except CommandError as error:
        raise ImagingError(f"disk {device.path}: there is no partition table to capture: {error}") from error
    partitions = table.get("partitions", [])
    if not partitions:
        raise ImagingError(f"disk {device.path}: the partition table is empty")
    if any(partition["type"] in _EXTENDED for partition in partitions):
        raise ImagingError(f"disk {device.path}: logical partitions of an MBR cannot be captured yet")
    first = min(partition["start"] for partition in partitions) * table.get("sectorsize", 512)
    return table["label"], device.read(0, min(first, LARGEST_HEAD)), partitions


def probe_regions(device: Device) -> tuple[str, bytes, list[Region]]:
    """Describe the whole disk: label, head, and partitions with their used extents."""
    label, head, partitions = read_table(device)
    sector = device.sector_size
    regions = []
    for partition in partitions:
        start, size = partition["start"] * sector, partition["size"] * sector
        found = _blkid(device.path, start, size)
        filesystem = found.get("TYPE", "")
        regions.append(
            Region(
                number=_number(device.path, partition["node"]),
                start=start,
                size=size,
                type=partition["type"],
                uuid=partition.get("uuid", ""),
                name=partition.get("name", ""),
                filesystem=filesystem,
                label=found.get("LABEL", ""),
                extents=_used(device.path, start, size, filesystem),
            )
        )
    return label, head, regions


def _number(disk: str, node: str) -> int:
    return int(node[len(disk) :].lstrip("p"))


def _blkid(path: str, start: int, size: int) -> dict[str, str]:
    arguments = ["blkid", "--probe", "--output", "export", "--offset", str(start), "--size", str(size), path]
    lines = run(arguments, accept=(0, 2)).stdout.decode(errors="replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _used(path: str, start: int, size: int, filesystem: str) -> Extents:
    whole = Extents([(0, size)])
    if filesystem == "BitLocker":
        raise ImagingError(
            f"disk {path}: the partition at byte {start} is encrypted with BitLocker: switch that off on the master"
            " (manage-bde -off C:), wait until it is decrypted, and capture again"
        )
    if filesystem not in PARTCLONE:
        return whole
    program = f"partclone.{PARTCLONE[filesystem]}"
    if shutil.which(program) is None:
        raise ImagingError(f"{program} is not installed here: it is needed to capture {filesystem}")
    with tempfile.TemporaryDirectory() as folder, loop_device(path, start, size) as loop:
        output = str(Path(folder, "map"))
        log = str(Path(folder, "log"))
        run([program, "-D", "-q", "-s", loop, "-o", output, "-L", log], timeout=_MAP_TIMEOUT)
        used = parse_ddrescue_map(Path(output).read_text(encoding="ascii"), size)
    # NTFS keeps a copy of its boot sector in the partition's last sector, behind what partclone maps.
    return used.with_tail(size, 4096)
