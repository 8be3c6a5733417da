# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The partitions of a disk: what they are, and, for a moment, made devices and mounted.

The kernel's own devices of them are not used: they may not exist yet, or still be those of the table before the deploy.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterator, Mapping, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError
from ansible_collections.reimage.lab.plugins.module_utils.disk import mount
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device, loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import blkid, read_partitions
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError


@dataclass(frozen=True)
class Partition:
    """A partition: its name, such as C(/dev/sda2), what the table and blkid say of it, and for the moment a block device.

    I(uuid) is the table's (PARTUUID), which MBRs do not have; I(tags) are blkid's.
    """

    name: str
    number: int
    type: str
    uuid: str
    tags: Mapping[str, str]
    device: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def filesystem(self) -> str:
        """Blkid's name of what is on it, empty if it knows none."""
        return self.tags.get("TYPE", "")

    @contextmanager
    def mounted(self, options: str, kind: str = "auto") -> Iterator[Path]:
        """Mount it for a moment, and yield its folder."""
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(mount.mounted(self.device, options, kind))
            except CommandError as error:
                raise IdentityError(f"{self.name} cannot be mounted: {error}") from error
            yield folder


def read_table(disk: str) -> list[Partition]:
    """Return all partitions of a disk, without devices."""
    with Device(disk) as device:
        return [partition for partition, _start, _size in _read(device)]


@contextmanager
def partitions(disk: str, filesystems: Sequence[str], *, read_only: bool) -> Iterator[list[Partition]]:
    """Yield the partitions of a disk that hold one of some filesystems, with devices.

    :param disk: A block device, or a raw disk file.
    :param filesystems: blkid's names.
    :raises ImagingError: The disk is to be written to, and is in use.
    """
    with Device(disk, write=not read_only) as device, ExitStack() as devices:
        found = []
        for partition, start, size in _read(device):
            if partition.filesystem in filesystems:
                path = devices.enter_context(loop_device(disk, start, size, device.sector_size, write=not read_only))
                found.append(replace(partition, device=path))
        yield found


def _read(device: Device) -> Iterator[tuple[Partition, int, int]]:
    """Yield each partition, where it begins, and its size, in bytes."""
    for entry in read_partitions(device)[1]:
        tags = blkid(device.path, entry.start, entry.size)
        yield Partition(entry.node, entry.number, entry.type, entry.uuid, tags), entry.start, entry.size
