# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The partitions of a disk, made devices and mounted for a moment.

The kernel's own devices of them are not used: they may not exist yet, or still be those of the table before the deploy.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError
from ansible_collections.reimage.lab.plugins.module_utils.disk import mount
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import blkid, read_partitions
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError


@dataclass(frozen=True)
class Partition:
    """A partition: its name, such as C(/dev/sda2), for the moment a block device that is it, and its filesystem for blkid."""

    name: str
    device: str
    filesystem: str

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def mounted(self, options: str, kind: str = "auto") -> Iterator[Path]:
        """Mount it for a moment, and yield its folder."""
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(mount.mounted(self.device, options, kind))
            except CommandError as error:
                raise IdentityError(f"{self.name} cannot be mounted: {error}") from error
            yield folder


@contextmanager
def partitions(disk: str, filesystems: Sequence[str], *, read_only: bool) -> Iterator[list[Partition]]:
    """Yield the partitions of a disk that hold one of some filesystems.

    :param disk: A block device, or a raw disk file.
    :param filesystems: blkid's names.
    :raises ImagingError: The disk is to be written to, and is in use.
    """
    with Device(disk, write=not read_only) as device, ExitStack() as devices:
        sector, found = device.sector_size, []
        for partition in read_partitions(device)[1]:
            start, size = partition["start"] * sector, partition["size"] * sector
            filesystem = blkid(disk, start, size).get("TYPE", "")
            if filesystem in filesystems:
                path = devices.enter_context(loop_device(disk, start, size, sector, write=not read_only))
                found.append(Partition(partition["node"], path, filesystem))
        yield found
