# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that asks which filesystems there are, and what they take, has the same answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import Filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import FILESYSTEMS, KINDS, filesystem, growing
from ansible_collections.reimage.lab.plugins.modules import image_deploy

ROOT = Path(__file__).resolve().parents[6]
SHARED = {"__init__", "base", "btrfs_trees", "mapped", "registry", "survey"}


def test_each_file_is_a_filesystem_that_is_known() -> None:
    files = {path.stem for path in (ROOT / "plugins/module_utils/disk/filesystems").glob("*.py")} - SHARED
    assert files == {kind.__module__.rpartition(".")[2] for kind in KINDS}


def test_no_name_means_two_filesystems() -> None:
    names = [name for kind in KINDS for name in kind.names]
    assert sorted(names) == sorted(set(names))


def test_automation_has_the_packages_of_all_programs() -> None:
    wanted = {package for one in FILESYSTEMS.values() for package in one.programs.values()}
    assert {"btrfs-progs", "e2fsprogs", "f2fs-tools", "ntfs-3g", "partclone", "xfsprogs"} == wanted
    assert wanted <= set((ROOT / "roles/automation_image/files/packages").read_text().split())
    assert wanted <= {line.split()[0] for line in (ROOT / "bindep.txt").read_text().splitlines()}


def test_filesystems_that_grow_and_shrink_are_those_of_the_documentation() -> None:
    grow, shrink = re.search(r"filesystem with it \((.+?)\);.*?is\s+shrunk \((.+?)\)", image_deploy.DOCUMENTATION, re.S).groups()  # type: ignore[union-attr]
    assert sorted(re.split(r",\s+", grow.lower())) == sorted(growing())
    shrinking = [name for name, one in FILESYSTEMS.items() if type(one).estimate is not Filesystem.estimate]
    assert sorted(re.split(r",\s+", shrink.lower())) == sorted(shrinking)


def test_each_filesystem_is_in_the_documentation() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/filesystems.md").read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(FILESYSTEMS)


@pytest.mark.parametrize("name", ["", "crypto_LUKS", "zfs_member"])
def test_what_is_not_known_is_all_of_its_bytes(tmp_path: Path, name: str) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(3 << 20))
    found = filesystem(name)
    assert (found.used(str(device)).pairs, found.smallest(str(device))) == ([(0, 3 << 20)], 3 << 20)
    assert (found.unfit(str(device)), found.grows, found.partclone) == (None, False, "")
    with pytest.raises(DiskError, match="cannot be resized"):
        found.resize(str(device), 4 << 20)
