# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on a disk: its table, its partitions, their filesystems, and which of their bytes are used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk import lvm
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.survey import Survey
from ansible_collections.reimage.lab.plugins.module_utils.disk.mbr import read_links
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import TableEntry, blkid, read_partitions
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import LARGEST_HEAD, Region

_EXTENDED = ("5", "f", "85")


@dataclass
class Found:
    """A disk: the kind of its table (C(gpt), C(dos)), the bytes before the first partition, the sectors that describe
    logical partitions, the partitions, and what a person should know."""

    label: str
    head: bytes
    links: list[tuple[int, bytes]]
    regions: list[Region]
    warnings: list[str] = field(default_factory=list)


def probe(device: Device, accept: Sequence[str] = ()) -> Found:
    """Describe the whole disk.

    :param accept: States of filesystems that are refused otherwise, C(dirty) and C(hibernated).
    """
    label, partitions = read_partitions(device)
    if not partitions:
        raise ImagingError(f"disk {device.path}: the partition table is empty")
    if any(partition.type == "ee" for partition in partitions):
        raise ImagingError(
            f"disk {device.path}: its GUID partition table is damaged, or the disk was cut short: mend it with gdisk"
        )
    first = min(partition.start for partition in partitions)
    links = read_links(device.read, device.sector_size) if label == "dos" else []
    survey = Survey(accept)
    found = Found(label, device.read(0, min(first, LARGEST_HEAD)), links, [], survey.warnings)
    for partition in partitions:
        if partition.end > device.size:
            raise ImagingError(
                f"disk {device.path}: partition {partition.number} ends at byte {partition.end}, and the disk at {device.size}:"
                " the disk was cut short, copy it again"
            )
        if label == "dos" and partition.type in _EXTENDED:
            continue
        found.regions.append(_region(device, partition, survey))
    survey.refuse_incomplete()
    return found


def measure_smallest(device: Device, regions: Sequence[Region]) -> None:
    """Note to what size each partition could be shrunk. For a big filesystem that takes long."""
    for region in regions:
        if region.extents.total == region.size:
            continue  # captured whole: what is in it is unknown, or not to be believed
        with loop_device(device.path, region.start, region.size, device.sector_size) as loop:
            region.size_min = filesystem(region.filesystem).smallest(loop)


def _region(device: Device, partition: TableEntry, survey: Survey) -> Region:
    start, size = partition.start, partition.size
    tags = blkid(device.path, start, size)
    kind = tags.get("TYPE", "")
    where = f"disk {device.path}: partition {partition.number}"
    if kind == "LVM2_member":
        extents = lvm.used(device.path, start, size, where, survey)
    else:
        with loop_device(device.path, start, size, device.sector_size) as loop:
            extents = survey.used(loop, where, kind)
    return Region(
        number=partition.number,
        start=start,
        size=size,
        type=partition.type,
        uuid=partition.uuid,
        name=partition.name,
        filesystem=kind,
        label=tags.get("LABEL", ""),
        extents=extents,
        size_min=size,
    )
