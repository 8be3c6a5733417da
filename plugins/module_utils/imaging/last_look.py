# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tools that are not ours say of a deployed disk.

That a disk holds what the image says proves little if the image is wrong. So before a disk gets its partition table, others must
accept it as they did the master.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from contextlib import nullcontext
from typing import Collection, ContextManager, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import blkid
from ansible_collections.reimage.lab.plugins.module_utils.disk.tables import Piece
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import Layout, Place
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each, threads

# Of a sound table, sfdisk says no more than this.
_SOUND = re.compile(r"No errors detected\.|Remaining \d+ unallocated|\d+ errors? detected|/\S+:$")
_GRAVE = re.compile(r"Problem|Warning|Error")  # sgdisk's other words are advice


def refuse_bad_table(index: Index, layout: Layout, device: Device) -> None:
    """Raise C(ImagingError) if sfdisk or sgdisk would find something in the new table that the master's does not have.

    They look at a disk of the same size that has nothing but the table, in memory, so nothing has been written yet.
    """
    found = _findings(index.label, layout.table, device.size, device.sector_size)
    if not found:
        return
    known = _findings(index.label, index.table().pieces(index.disk_size), index.disk_size, index.sector_size)
    new = Counter(map(_numberless, found)) - Counter(map(_numberless, known))
    if new:
        first = next(line for line in found if _numberless(line) in new)
        raise ImagingError(
            f"{index.image} cannot be deployed to {device.path}: the partition table would be wrong there, and is not on the"
            f" master's disk: {first}"
        )


def _findings(label: str, pieces: Sequence[Piece], size: int, sector: int) -> list[str]:
    """Return what is wrong with a table, as sgdisk or sfdisk say."""
    file = os.memfd_create("table")
    try:
        os.ftruncate(file, size)
        for offset, data in pieces:
            os.pwrite(file, data, offset)
        with _readable(f"/proc/{os.getpid()}/fd/{file}", size, sector) as path:
            if label == "gpt":
                # Each finding is a paragraph.
                said = run(["sgdisk", "--verify", path]).stdout.decode(errors="replace")
                paragraphs = [" ".join(part.split()) for part in said.split("\n\n")]
                return [part for part in paragraphs if _GRAVE.match(part)]
            result = run(["sfdisk", "--verify", path], accept=(0, 1))
            lines = (result.stdout + result.stderr).decode(errors="replace").splitlines()
            return [line for line in lines if line and not _SOUND.match(line)]
    finally:
        os.close(file)


def _readable(path: str, size: int, sector: int) -> ContextManager[str]:
    """Return a disk file as one that tools read with the right size of sectors; they take it to be 512 bytes in a file."""
    return nullcontext(path) if sector == 512 else loop_device(path, 0, size, sector)


def _numberless(finding: str) -> str:
    """Return a finding without what differs from one disk to another."""
    return re.sub(r"\d+", "0", finding)


def look(device: Device, places: Sequence[Place], written: Collection[int] = ()) -> list[str]:
    """Return what blkid has against the partitions of a disk, and, if they have just been I(written), the filesystem's own tool.

    That looks at nothing but used bytes, so it has no more to say where comparing found that nothing changed.
    """
    complaints: list[str] = []

    def one(place: Place) -> None:
        where = f"{device.path}: partition {place.region.number}"
        complaints.extend(_ask_blkid(device, place, where))
        if place.region.number in written:
            complaints.extend(_ask_filesystem(device, place, where))

    each(places, one, threads())
    return sorted(complaints)


def _ask_blkid(device: Device, place: Place, where: str) -> list[str]:
    region = place.region
    tags = blkid(device.path, place.start, place.size)
    wanted = {"TYPE": region.filesystem, "UUID": region.filesystem_uuid, "LABEL": region.label}
    # An older index has no UUID; a newer blkid may know what an older one did not.
    return [
        f"{where} has the {tag} {tags.get(tag, '')!r} for blkid, and {value!r} on the master"
        for tag, value in wanted.items()
        if value and tags.get(tag) != value
    ]


def _ask_filesystem(device: Device, place: Place, where: str) -> list[str]:
    """Have its own tool look at what a capture looks at. One that was captured whole may have been unfit on the master too."""
    asked = filesystem(place.region.filesystem)
    if place.region.extents.total == place.region.size or not all(map(shutil.which, asked.programs)):
        return []
    try:
        with loop_device(device.path, place.start, place.size, device.sector_size) as loop:
            unfit = asked.unfit(loop)
    except CommandError as error:
        return [f"{where} ({asked.name}) is damaged: {error}"]
    return [f"{where} ({asked.name}) is not clean, and it was on the master"] if unfit else []
