# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The partition of a disk that holds a Linux system, mounted for a moment."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import FILESYSTEMS
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import Partition, partitions

ROOTS = [name for name, one in FILESYSTEMS.items() if one.holds_linux]


@contextmanager
def mounted_root(disk: str, *, read_only: bool = False) -> Iterator[tuple[Path, Partition]]:
    """Mount the root filesystem of the one Linux on a disk, and yield its folder and its partition.

    :param disk: A block device, or a raw disk file.
    :raises IdentityError: There is no Linux on the disk, or more than one.
    """
    with partitions(disk, ROOTS, read_only=read_only) as found:
        roots = [partition for partition in found if _is_root(partition)]
        if len(roots) != 1:
            raise IdentityError(
                f"disk {disk}: one partition must hold the root of a Linux system (etc/fstab, os-release);"
                f" {', '.join(map(str, roots)) or 'none'} does"
            )
        with roots[0].mounted("ro" if read_only else "rw") as folder:
            _refuse_own_var(folder, disk)
            yield folder, roots[0]


def _refuse_own_var(folder: Path, disk: str) -> None:
    """What identity is written to C(/var) would lie under another filesystem when the system runs."""
    for line in (Tree(folder).read("/etc/fstab") or "").splitlines():
        if line.split()[1:2] in (["/var"], ["/var/lib"]) and not line.lstrip().startswith("#"):
            raise IdentityError(
                f"disk {disk}: {line.split()[1]} is on a filesystem of its own (etc/fstab), which is not supported: give the"
                " master one filesystem for it and the root"
            )


def _is_root(partition: Partition) -> bool:
    with partition.mounted("ro") as folder:
        release = any((folder / place / "os-release").exists() for place in ("etc", "usr/lib"))
        return release and (folder / "etc/fstab").exists()
