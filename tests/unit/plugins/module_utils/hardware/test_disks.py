# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The choice of the one disk: when in doubt, none. The disks are made up here; what lsblk says is tested with real ones."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.hardware import disks
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import Disk, find_disk, refuse_in_use
from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError

SSD = Disk("/dev/nvme0n1", 512 << 30, "Fast", "S1", "eui.1", "nvme", False)
HDD = Disk("/dev/sda", 1 << 40, "Big", "S2", "0x2", "sata", False)
STICK = Disk("/dev/sdb", 64 << 30, "Stick", "S3", "", "usb", False)


@pytest.fixture(autouse=True)
def there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "disks", lambda: [SSD, HDD, STICK])


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"serial": "s1"}, SSD.path),
        ({"wwn": "0x2"}, HDD.path),
        ({"model": "Big", "size_min": 1}, HDD.path),
        ({"size_max": 600 << 30}, SSD.path),
        ({"size_min": 600 << 30}, HDD.path),
    ],
)
def test_description_of_one_disk(wanted: dict[str, Any], path: str) -> None:
    assert find_disk(wanted) == path


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"size_min": 1}, "ambiguous: /dev/nvme0n1 .*; /dev/sda"),
        ({"size_min": "500GB"}, "size_min=500GB: say how many bytes"),
        ({"serial": "S9"}, "matches no disk. There is: /dev/nvme0n1"),
        ({"serial": "S3"}, "matches no disk"),
        ({"colour": "red"}, "colour does not describe a disk"),
        ({}, "an empty mapping does not describe a disk"),
        ("/dev/nothing", "No such file"),
    ],
)
def test_anything_else_is_refused(wanted: Any, said: str) -> None:
    with pytest.raises(HardwareError, match=said):
        find_disk(wanted)


def lsblk(*rows: tuple[str, str, list[Any], list[Any]]) -> list[dict[str, Any]]:
    """What C(lsblk --json --bytes --tree) says: path, type, mount points, and what is made of it."""
    return [
        {
            "path": path, "type": kind, "size": 1 << 40, "model": None, "serial": None, "wwn": None, "tran": None, "rm": False,
            "ro": False, "mountpoints": places, "fstype": None, **({"children": lsblk(*inner)} if inner else {}),
        }
        for path, kind, places, inner in rows
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("holder", "kind"),
    [("/dev/mapper/vg-root", "lvm"), ("/dev/mapper/luks", "crypt"), ("/dev/md0", "raid1"), ("/dev/mapper/mpatha", "mpath")],
)
def test_disk_that_something_is_made_of_is_in_use(monkeypatch: pytest.MonkeyPatch, holder: str, kind: str) -> None:
    """No kernel that runs the tests makes these."""
    rows = lsblk(("/dev/sda", "disk", [None], [("/dev/sda1", "part", [None], [(holder, kind, [None], [])])]))
    monkeypatch.setattr(disks, "_lsblk", lambda _paths: rows)
    monkeypatch.setattr(Path, "is_block_device", lambda _path: True)
    monkeypatch.setattr(disks, "run", lambda arguments: subprocess.CompletedProcess(arguments, 0, b""))
    with pytest.raises(HardwareError, match=rf"/dev/sda is in use: {holder} \({kind}\) is made of it. Deactivate that first"):
        refuse_in_use("/dev/sda")


@pytest.mark.parametrize("kind", ["part", "lvm", "crypt", "raid1"])
def test_part_of_a_disk_is_not_a_disk(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(disks, "_lsblk", lambda _paths: lsblk(("/dev/null", kind, [None], [])))
    monkeypatch.setattr("stat.S_ISBLK", lambda _mode: True)
    with pytest.raises(HardwareError, match=f"no whole disk .it is of type {kind}.: name the disk"):
        find_disk("/dev/null")


def test_folder_is_not_a_disk(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match="neither a block device nor"):
        find_disk(str(tmp_path))
