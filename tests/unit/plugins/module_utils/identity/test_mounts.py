# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""fstab and the resume device, compared with a disk: only what must change does, and the rest stays byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.mounts import mount_settings
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import Partition

GPT = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
DISK = (
    Partition("/dev/vda1", 1, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "AAAA-01", {"TYPE": "vfat", "UUID": "ABCD-1234"}),
    Partition("/dev/vda2", 2, GPT, "AAAA-02", {"TYPE": "ext4", "UUID": "root-uuid", "LABEL": "root"}),
    Partition("/dev/vda3", 3, GPT, "AAAA-03", {"TYPE": "swap", "UUID": "swap-uuid"}),
    Partition("/dev/vda4", 4, GPT, "AAAA-04", {}),
)


def settle(folder: Path, fstab: str, resume: str = "", disk: Sequence[Partition] = DISK) -> tuple[str, str, list[str]]:
    """Return what fstab and resume hold afterwards, and the warnings; a second time nothing differs."""
    for name, text in (("etc/fstab", fstab), ("etc/initramfs-tools/conf.d/resume", resume)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    tree = Tree(folder)
    settings = mount_settings(tree, disk)
    settings.apply(tree)
    again = mount_settings(tree, disk)
    assert again.differing(tree) == []
    assert again.warnings == settings.warnings
    found = [(folder / name).read_bytes().decode() for name in ("etc/fstab", "etc/initramfs-tools/conf.d/resume")]
    return found[0], found[1], settings.warnings


@pytest.mark.parametrize("disk", ["/dev/sda", "/dev/vda", "/dev/hdb", "/dev/xvda", "/dev/sdaa", "/dev/nvme0n1p", "/dev/mmcblk0p"])
def test_kernel_names_become_uuids(tmp_path: Path, disk: str) -> None:
    before = (
        f"# {disk}2 was the root\n{disk}2\t/  ext4 errors=remount-ro 0 1\r\n\n"
        f"  {disk}1 /boot/efi vfat umask=0077\n{disk}3 none swap sw 0 0"
    )
    after = (
        before.replace(f"{disk}2\t", "UUID=root-uuid\t")
        .replace(f"{disk}1", "UUID=ABCD-1234")
        .replace(f"{disk}3", "UUID=swap-uuid")
    )
    assert settle(tmp_path, before)[::2] == (after, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n\n",
        "UUID=root-uuid / ext4 defaults 0 1\r\n",
        'UUID="ROOT-UUID"   /  ext4  defaults 0 1 # /dev/sda2\n',
        "LABEL=root / ext4\nPARTUUID=aaaa-02 /x ext4\nPARTLABEL=x /y ext4\n",
        "/dev/sr0 /media/cdrom udf,iso9660 user,noauto 0 0\ntmpfs /tmp tmpfs\nserver:/home /home nfs\n",
        "/dev/mapper/x /z ext4\n/dev/md1 /m ext4\n/dev/disk/by-uuid/x /y ext4\n",
        "one two\n",
    ],
)
def test_other_lines_stay(tmp_path: Path, text: str) -> None:
    assert settle(tmp_path, text)[::2] == (text, [])


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ("/dev/sdb1 /data ext4 defaults 0 2", "/data is on /dev/sdb1"),  # another disk than the root's
        ("/dev/sda1 /data ext4 defaults 0 2", "/data is on /dev/sda1"),  # another filesystem
        ("/dev/sda4 /data ext4 defaults 0 2", "/data is on /dev/sda4"),  # no filesystem
        ("/dev/sda9 none swap sw 0 0", "swap is on /dev/sda9"),
        ("UUID=gone none swap sw 0 0", "swap is on UUID=gone"),
        ("UUID=gone /data ext4 defaults 0 2", "/data is on UUID=gone"),
        ("PARTUUID=gone /data ext4 defaults 0 2", "/data is on PARTUUID=gone"),
    ],
)
def test_what_is_not_on_the_disk_is_left_and_said(tmp_path: Path, line: str, warned: str) -> None:
    fstab, _resume, warnings = settle(tmp_path, f"/dev/sda2 / ext4\n{line}\n")
    assert fstab == f"UUID=root-uuid / ext4\n{line}\n"
    assert [warned in warning for warning in warnings] == [True]


def test_data_disk_beside_a_root_with_a_uuid(tmp_path: Path) -> None:
    """The only disk with a kernel's name is taken for the system's own, unless a filesystem says otherwise."""
    assert (
        settle(tmp_path, "UUID=root-uuid / ext4\n/dev/sda3 none swap\n")[0] == "UUID=root-uuid / ext4\nUUID=swap-uuid none swap\n"
    )
    both = "UUID=root-uuid / ext4\n/dev/sda3 none swap\n/dev/sdb2 /data ext4\n"
    fstab, _resume, warnings = settle(tmp_path, both)
    assert (fstab, len(warnings)) == (both, 2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("RESUME=UUID=gone\n", "RESUME=none\n"),
        ("# by the installer\nRESUME=UUID=gone\nX=1\n", "# by the installer\nRESUME=none\nX=1\n"),
        ("RESUME='UUID=gone'\n", "RESUME=none\n"),
        ("RESUME=UUID=swap-uuid\n", "RESUME=UUID=swap-uuid\n"),
        ("RESUME=auto\n", "RESUME=auto\n"),
        ("#RESUME=UUID=gone\n", "#RESUME=UUID=gone\n"),
    ],
)
def test_resume(tmp_path: Path, before: str, after: str) -> None:
    assert settle(tmp_path, "", before)[1] == after


def test_what_lvm_or_luks_hides_is_not_called_missing(tmp_path: Path) -> None:
    disk = [*DISK, Partition("/dev/vda5", 5, GPT, "AAAA-05", {"TYPE": "LVM2_member", "UUID": "x"})]
    fstab, resume, warnings = settle(tmp_path, "UUID=inside /home ext4\n", "RESUME=UUID=inside\n", disk)
    assert (fstab, resume, warnings) == ("UUID=inside /home ext4\n", "RESUME=UUID=inside\n", [])


def test_system_without_these_files_gets_none(tmp_path: Path) -> None:
    assert not mount_settings(Tree(tmp_path), DISK).files
