# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one Linux of a disk is found, named, and left clean."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import loop_device
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.identity import give
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.root import mounted_root
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree

from ..loops import await_no_loop

LAYOUT = b"label: gpt\nsize=32MiB, name=data\nsize=64MiB, name=root\n"
DATA, ROOT = 1 << 20, 33 << 20


def disk_with(tmp_path: Path, *, systems: int) -> Path:
    """A disk of two ext4 partitions, the last I(systems) of which hold a Linux."""
    tree = tmp_path / "tree"
    (tree / "etc/ssh").mkdir(parents=True)
    for name in ("etc/os-release", "etc/fstab", "etc/hostname", "etc/ssh/sshd_config"):
        (tree / name).write_text("ID=debian\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(100 << 20)
    subprocess.run(["sfdisk", "-q", disk], input=LAYOUT, check=True)
    for offset, size, source in (
        (DATA, 32 << 20, tree if systems > 1 else empty),
        (ROOT, 64 << 20, tree if systems else empty),
    ):
        subprocess.run(
            ["mkfs.ext4", "-q", "-F", "-E", f"offset={offset}", "-d", source, disk, f"{size >> 10}k"],
            check=True,
            capture_output=True,
        )
    return disk


def replace_fstab(disk: Path, text: str) -> None:
    (disk.parent / "fstab").write_text(text)
    with loop_device(str(disk), ROOT, 64 << 20, write=True) as loop:
        change = f"rm /etc/fstab\nwrite {disk.parent / 'fstab'} /etc/fstab\n"
        subprocess.run(["debugfs", "-w", "-f", "-", loop], input=change.encode(), check=True, capture_output=True)


def test_var_on_a_filesystem_of_its_own_is_refused(tmp_path: Path) -> None:
    """What identity is written to it would be hidden when the system runs."""
    disk = disk_with(tmp_path, systems=1)
    for line in ("UUID=1-2 /var ext4 defaults 0 2", "LABEL=var  /var/lib  xfs"):
        replace_fstab(disk, f"UUID=1-1 / ext4\n\n{line}\n")
        with pytest.raises(IdentityError, match="is on a filesystem of its own"), mounted_root(str(disk), read_only=True):
            pytest.fail("it was mounted")
    replace_fstab(disk, "UUID=1-1 / ext4\n# /dev/sda2 /var ext4\n")
    with mounted_root(str(disk), read_only=True) as (folder, _partition):
        assert (folder / "etc/fstab").exists()
    await_no_loop(disk)


def test_system_is_found_named_and_clean(tmp_path: Path) -> None:
    disk = disk_with(tmp_path, systems=1)
    with mounted_root(str(disk)) as (folder, partition):
        assert partition.name == f"{disk}2"
        assert give(Tree(folder), "pc-01", "lab/1")[0]
    with mounted_root(str(disk), read_only=True) as (folder, _partition):
        assert not give(Tree(folder), "pc-01", "lab/1", dry_run=True)[0]
    at = f"{disk}?offset={ROOT}"
    assert subprocess.run(["debugfs", "-R", "cat /etc/hostname", at], check=True, capture_output=True).stdout == b"pc-01\n"
    assert subprocess.run(["e2fsck", "-fn", at], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("systems", [0, 2])
def test_none_or_two_systems_are_refused(tmp_path: Path, systems: int) -> None:
    disk = disk_with(tmp_path, systems=systems)
    before = disk.read_bytes()
    with pytest.raises(IdentityError, match="one partition must hold"), mounted_root(str(disk)):
        pass
    assert disk.read_bytes() == before
    await_no_loop(disk)


def test_disk_in_use_is_refused(tmp_path: Path) -> None:
    disk = disk_with(tmp_path, systems=1)
    with loop_device(str(disk), 0, 100 << 20, write=True) as loop:
        held = os.open(loop, os.O_RDONLY | os.O_EXCL)
        try:
            with pytest.raises(ReimageError, match="busy"), mounted_root(loop):
                pass
        finally:
            os.close(held)
