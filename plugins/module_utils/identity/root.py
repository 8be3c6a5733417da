# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The partition of a disk that holds a Linux system, mounted for a moment."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError

FILESYSTEMS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs")


@contextmanager
def mounted_root(disk: str, *, read_only: bool = False) -> Iterator[tuple[Path, str]]:
    """Mount the root filesystem of the one Linux on a disk, and yield its folder and its partition.

    :param disk: A block device, or a raw disk file.
    :raises IdentityError: There is no Linux on the disk, or more than one.
    """
    with partitions(disk, FILESYSTEMS) as found:
        roots = [partition for partition in found if _is_root(partition)]
        if len(roots) != 1:
            raise IdentityError(
                f"disk {disk}: one partition must hold the root of a Linux system (etc/fstab, os-release);"
                f" {', '.join(roots) or 'none'} does"
            )
        with mounted(roots[0], "ro" if read_only else "rw") as folder:
            yield folder, roots[0]


@contextmanager
def partitions(disk: str, filesystems: Sequence[str]) -> Iterator[list[str]]:
    """Yield the partitions of a disk that hold one of some filesystems, as devices.

    :param filesystems: blkid's names.
    """
    loop = ""
    if not Path(disk).is_block_device():
        loop = run(["losetup", "--find", "--show", "--sector-size", "512", disk]).stdout.decode().strip()
    device = loop or disk
    # Not every loop device scans for partitions, and a table that was just written may not have been seen yet.
    run(["partx", "--update", device], accept=(0, 1))
    run(["udevadm", "settle", "--timeout=10"], accept=(0, 1))
    try:
        listed = json.loads(run(["lsblk", "--json", "--list", "--output", "PATH,TYPE", device]).stdout)["blockdevices"]
        paths = [row["path"] for row in listed if row["type"] == "part"]
        yield [path for path in paths if _filesystem(path) in filesystems]
    finally:
        if loop:
            run(["partx", "--delete", loop], accept=(0, 1))
            run(["losetup", "--detach", loop])


def _filesystem(partition: str) -> str:
    # Asked of the disk itself: the cache of udev may be older than the deploy.
    return run(["blkid", "--probe", "--output", "value", "--match-tag", "TYPE", partition], accept=(0, 2)).stdout.decode().strip()


def _is_root(partition: str) -> bool:
    with mounted(partition, "ro") as folder:
        release = any((folder / place / "os-release").exists() for place in ("etc", "usr/lib"))
        return release and (folder / "etc/fstab").exists()


@contextmanager
def mounted(partition: str, options: str, kind: str = "auto") -> Iterator[Path]:
    """Mount a partition for a moment, and yield its folder."""
    with tempfile.TemporaryDirectory(prefix="reimage-root-") as folder:
        try:
            run(["mount", "-t", kind, "-o", f"{options},nosuid,nodev,noexec", partition, folder])
        except CommandError as error:
            raise IdentityError(f"{partition} cannot be mounted: {error}") from error
        try:
            yield Path(folder)
        finally:
            run(["umount", folder])
