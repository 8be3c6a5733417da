# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filesystem gets the size of its place on the disk.

What that wrote has no digest to be compared with, and the next deploy takes it for right; so it is looked at here.
"""

from __future__ import annotations

from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, DirectReader, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import ReadError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import used_now
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import Place


def resize(device: Device, place: Place, view: Device | None, verify: bool) -> None:
    """Have the disk hold a filesystem that fills its place.

    :param view: The partition in the image's size, if the disk has less room for it.
    :param verify: Whether to look at the result.
    :raises ImagingError: It is not whole.
    """
    if view:
        _shrink(view, device, place, verify)
    else:
        _grow(device, place, verify)


def _grow(device: Device, place: Place, verify: bool) -> None:
    path, sector, grown = device.path, device.sector_size, filesystem(place.region.filesystem)
    with loop_device(path, place.start, place.size, sector, write=True) as loop:
        grown.resize(loop, place.size)
    if not verify:
        return
    device.sync()
    with loop_device(path, place.start, place.size, sector) as loop:
        try:
            grown.check(loop)
        except CommandError as error:
            raise _failing(device, place, f"its filesystem is damaged: {error}") from error


def _shrink(view: Device, device: Device, place: Place, verify: bool) -> None:
    """Shrink the filesystem of a partition that is longer than its disk, and copy the result to the disk."""
    filesystem(place.region.filesystem).resize(view.path, place.size)
    view.sync()
    extents = used_now(view.path, 0, place.size, place.region.filesystem, device.sector_size)

    def pieces() -> Iterator[tuple[int, bytes]]:
        for start in range(0, place.size, CHUNK_SIZE):
            for offset, length in extents.within(start, start + CHUNK_SIZE):
                yield offset, view.read(offset, length)

    for offset, data in pieces():
        if not _holds(device, place.start + offset, data):
            device.write(place.start + offset, data)
    if not verify:
        return
    device.sync()
    with DirectReader(device.path) as reader:
        for offset, data in pieces():
            if not _holds(reader, place.start + offset, data):
                raise _failing(device, place, f"it does not hold what was written to it at byte {place.start + offset}")


def _holds(disk: Device | DirectReader, offset: int, data: bytes) -> bool:
    try:
        return disk.read_used(0, len(data), Extents([(0, len(data))]), offset) == data
    except ReadError:
        return False


def _failing(device: Device, place: Place, what: str) -> ImagingError:
    return ImagingError(
        f"{device.path}: partition {place.region.number} was resized, and {what}. Disk, cable or memory is failing; it has no"
        " partition table now"
    )
