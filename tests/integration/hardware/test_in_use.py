# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk that is in use is refused, on real block devices."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import find_disk, refuse_in_use
from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    return path


@pytest.fixture
def loop(disk: Path) -> Iterator[str]:
    name = subprocess.run(
        ["losetup", "--find", "--show", "--sector-size=512", disk], check=True, capture_output=True, text=True
    ).stdout.strip()
    yield name
    subprocess.run(["losetup", "--detach", name], check=True)


def test_free_disk_is_taken(disk: Path, loop: str) -> None:
    refuse_in_use(loop)
    refuse_in_use(str(disk))


def test_mounted_filesystem_is_named(disk: Path, loop: str, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", loop], check=True)
    place = tmp_path / "mnt"
    place.mkdir()
    subprocess.run(["mount", loop, place], check=True)
    try:
        for path in (loop, str(disk)):
            with pytest.raises(HardwareError, match=f"mounted at {place}"):
                refuse_in_use(path)
    finally:
        subprocess.run(["umount", place], check=True)


def test_filesystem_mounted_through_a_loop_device_over_the_disk_is_named(disk: Path, loop: str, tmp_path: Path) -> None:
    arguments = ["losetup", "--find", "--show", "--sector-size=512", "--offset", str(1 << 20), loop]
    inner = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()
    try:
        subprocess.run(["mkfs.ext4", "-q", inner], check=True)
        place = tmp_path / "mnt"
        place.mkdir()
        subprocess.run(["mount", inner, place], check=True)
        try:
            for path in (loop, str(disk)):
                with pytest.raises(HardwareError, match=f"{inner}, on {path}, is in use: mounted at {place}"):
                    refuse_in_use(path)
        finally:
            subprocess.run(["umount", place], check=True)
    finally:
        subprocess.run(["losetup", "--detach", inner], check=True)


def test_partition_is_not_a_disk(disk: Path, loop: str) -> None:
    subprocess.run(["sfdisk", "--quiet", loop], input=b"label: gpt\nsize=8MiB\n", check=True)
    subprocess.run(["partx", "--update", loop], check=True)
    try:
        assert find_disk(loop) == loop
        assert find_disk(str(disk)) == str(disk)
        with pytest.raises(HardwareError, match=rf"disk {loop}p1: this is no whole disk \(it is of type part\)"):
            find_disk(f"{loop}p1")
    finally:
        subprocess.run(["partx", "--delete", loop], check=True)
