# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tools of a filesystem refuse to do with its size is known before anything is written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from .conftest import MIB, blank, deploy, partition, sh

GIB = 1 << 30


def image(tmp_path: Path, mib: int, *sizes: str) -> Path:
    """Make a disk with partitions."""
    sh("sfdisk", "--quiet", disk := blank(tmp_path / "m.raw", mib), data="\n".join(["label: gpt", *sizes]).encode())
    return disk


def taken(tmp_path: Path, disk: Path) -> tuple[PathStore, Index]:
    """Capture it, and read its index as a deploy does."""
    store = PathStore(tmp_path / "store")
    capture(store, str(disk), "lab", "1")
    return store, read_index(store, "lab", "1")[0]


def length(disk: Path, number: int) -> int:
    with partition(disk, number) as device:
        return int(sh("blockdev", "--getsize64", device))


def test_tiny_ext4_grows_as_far_as_resize2fs_goes_and_no_farther(tmp_path: Path) -> None:
    disk = image(tmp_path, 22, "size=20MiB")
    with partition(disk, 1) as device:
        sh("mkfs.ext4", "-q", "-b", 4096, device)
    store, index = taken(tmp_path, disk)
    # What mkfs reserved for more descriptors, which is 1024 times what it made.
    assert 20 * GIB <= index.partitions[0].size_max < 40 * GIB
    larger = blank(tmp_path / "larger.raw", 1 << 20)
    result = deploy(store, index, str(larger))
    assert result.resized == [1]
    assert f"can grow to {index.partitions[0].size_max} bytes at most" in result.warnings[0]
    assert index.partitions[0].size_max - MIB < length(larger, 1) <= index.partitions[0].size_max
    with partition(larger, 1) as device:
        sh("e2fsck", "-fn", device)
    assert not deploy(store, index, str(larger)).changed
    # The limit is that of the real program.
    volume = blank(tmp_path / "volume", 60 << 10)
    sh("mkfs.ext4", "-q", "-b", 4096, volume, 5120)
    assert subprocess.run(["resize2fs", volume], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("variant", ["clusters", "journal elsewhere"])
def test_ext4_that_resize2fs_does_not_take_keeps_its_size(tmp_path: Path, variant: str) -> None:
    disk = image(tmp_path, 44, "size=8MiB", "size=32MiB")
    with partition(disk, 1) as journal, partition(disk, 2) as device:
        if variant == "clusters":
            sh("mkfs.ext4", "-q", "-O", "bigalloc", device)
        else:
            sh("mke2fs", "-q", "-b", 1024, "-O", "journal_dev", journal)
            sh("mkfs.ext4", "-q", "-b", 1024, "-J", f"device={journal}", device)
    store, index = taken(tmp_path, disk)
    larger = blank(tmp_path / "larger.raw", 80)
    for dry_run in (True, False):
        result = deploy(store, index, str(larger), dry_run=dry_run)
        assert (result.changed, result.resized) == (True, [])
        assert f"{36 * MIB} bytes stay unused: the ext4 in partition 2 can grow to {32 * MIB} bytes" in result.warnings[0]
    assert not deploy(store, index, str(larger)).changed
    smaller = blank(tmp_path / "smaller.raw", 40)
    with pytest.raises(ReimageError, match="is too small"):
        deploy(store, index, str(smaller))
    assert not any(smaller.read_bytes())


def test_more_room_is_tried_where_ntfsresize_refuses_what_it_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = blank(tmp_path / "volume", 64)
    sh("mkfs.ntfs", "-F", "-q", volume)
    ntfs = filesystem("ntfs")
    honest = ntfs.smallest(str(volume))
    monkeypatch.setattr(ntfs, "estimate", lambda _device: 2 * MIB)
    before = volume.read_bytes()
    least = ntfs.smallest(str(volume))
    assert volume.read_bytes() == before
    assert 3 * MIB < least < 64 * MIB
    assert honest < 64 * MIB
    ntfs.resize(str(volume), least)
    sh("ntfsresize", "--info", "--force", volume)


def test_ntfs_grows_as_far_as_its_clusters_can_be_counted(tmp_path: Path) -> None:
    volume = blank(tmp_path / "volume", 20)
    sh("mkfs.ntfs", "-F", "-q", "-c", 512, volume)
    assert filesystem("ntfs").largest(str(volume)) == 512 * ((1 << 32) - 1)
    sh("mkfs.ntfs", "-F", "-q", "-c", 1 << 20, volume)
    assert filesystem("ntfs").largest(str(volume)) == MIB * ((1 << 32) - 1)
    # What ntfsresize does not even look at, it does not resize.
    with volume.open("r+b") as file:
        file.seek(0x30)
        file.write(bytes(8))
    assert filesystem("ntfs").largest(str(volume)) == 20 * MIB
