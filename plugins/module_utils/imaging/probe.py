# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on a disk: its table, its partitions, their filesystems, and which of their bytes are used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk import lvm
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.survey import Survey
from ansible_collections.reimage.lab.plugins.module_utils.disk.gpt import FarError, check_header, from_backup
from ansible_collections.reimage.lab.plugins.module_utils.disk.mbr import read_links
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import TableEntry, blkid, read_partitions, unpartitioned
from ansible_collections.reimage.lab.plugins.module_utils.disk.signatures import signatures
from ansible_collections.reimage.lab.plugins.module_utils.disk.tables import open_table
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import LARGEST_HEAD, LARGEST_SIZE, Region

_EXTENDED = ("5", "f", "85")
# Windows' dynamic disks (LDM): the metadata and the volumes, and the only type of such an MBR.
_USUAL_HEAD = 4 << 20  # boot loaders of PCs need less
_DYNAMIC = ("5808C8AA-7E8F-42E0-85D2-E1E90434CFB3", "AF9B60A0-1431-4F62-BC68-3311714A69AD", "42")


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
        raise ImagingError(f"disk {device.path}: the partition table is empty: {unpartitioned(device) or 'partition it'}")
    if any(partition.type == "ee" for partition in partitions):
        raise ImagingError(
            f"disk {device.path}: its GUID partition table is damaged, or the disk was cut short: mend it with gdisk"
        )
    _refuse_kind(device.path, label, partitions)
    links = read_links(device.read, device.sector_size) if label == "dos" else []
    survey = Survey(accept)
    found = Found(label, _head(device, label, partitions, survey.warnings), links, [], survey.warnings)
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


def _refuse_kind(disk: str, label: str, partitions: Sequence[TableEntry]) -> None:
    """Raise C(ImagingError) if a disk has a table that a deploy cannot write, or that does not say what is where."""
    if label not in ("gpt", "dos"):
        raise ImagingError(f"disk {disk} has a partition table of kind {label}: only a GPT and an MBR can be captured")
    if any(partition.type.upper() in _DYNAMIC for partition in partitions):
        raise ImagingError(
            f"disk {disk} is a dynamic disk, whose volumes only Windows knows: convert it to a basic disk, and capture that"
        )
    if label == "dos" and sum(partition.type in _EXTENDED for partition in partitions) > 1:
        raise ImagingError(f"disk {disk} has two extended partitions, and only one can be captured: remove the other one")


def _head(device: Device, label: str, partitions: Sequence[TableEntry], warnings: list[str]) -> bytes:
    """Return the bytes before the first partition, with a GPT that is whole."""
    first = min(partition.start for partition in partitions)
    if first < (2 if label == "gpt" else 1) * device.sector_size:
        raise ImagingError(f"disk {device.path}: a partition begins in the partition table, at byte {first}: remove it first")
    head = device.read(0, min(first, LARGEST_HEAD))
    if first > LARGEST_HEAD:
        warnings.append(
            f"disk {device.path}: the bytes {LARGEST_HEAD} to {first}, before the first partition, are not in the image: a boot"
            " loader that keeps something there does not work on other disks"
        )
    if head[_USUAL_HEAD:].strip(b"\0"):
        warnings.append(
            f"disk {device.path}: all {len(head)} bytes before the first partition are in the image, since a boot loader may be"
            " there; if they are left from a partition that was deleted, fill them with zeros and capture again"
        )
    if label == "gpt":
        try:
            check_header(head[device.sector_size : 2 * device.sector_size])
            open_table(label, head, [], device.sector_size)
        except FarError as error:
            raise ImagingError(f"disk {device.path} cannot be captured: {error}") from error
        except DiskError as error:
            try:
                head = from_backup(head, device.sector_size, device.size, device.read)
            except DiskError as worse:
                raise ImagingError(f"disk {device.path} cannot be captured: {worse}") from worse
            warnings.append(f"disk {device.path}: {error}; the image has the copy at the end of the disk: mend it with gdisk")
    return head


def measure_limits(device: Device, regions: Sequence[Region]) -> None:
    """Note to what size each partition could be shrunk, and to what it could grow. For a big filesystem that takes long."""
    for region in regions:
        found = filesystem(region.filesystem)
        if not found.grows:
            continue
        with loop_device(device.path, region.start, region.size, device.sector_size) as loop:
            # A limit that no index can hold is none.
            region.size_max = min(found.largest(loop), LARGEST_SIZE)
            # Of what is captured whole, it is unknown what is in it, or not to be believed.
            if region.extents.total < region.size:
                region.size_min = found.smallest(loop)


def _region(device: Device, partition: TableEntry, survey: Survey) -> Region:
    start, size = partition.start, partition.size
    tags = blkid(device.path, start, size)
    kind = tags.get("TYPE", "")
    where = f"disk {device.path}: partition {partition.number}"
    names = sorted({name for _offset, name in signatures(device, start, size)}) if not kind else []
    if len(names) > 1:
        survey.warnings.append(
            f"{where} is captured whole: for blkid it may be {' or '.join(names)}; remove the other signatures with wipefs on the"
            " master"
        )
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
        filesystem_uuid=tags.get("UUID", ""),
    )
