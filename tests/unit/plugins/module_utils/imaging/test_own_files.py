# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Only a folder's own regular files are read, whoever filled it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.own_files import file_size, open_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("secret")
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "folder/inner/file").write_text("ours")
    return tmp_path / "folder"


def read(root: Path, name: str) -> str:
    with open_file(root, name) as file:
        return file.read().decode()


def test_own_file_is_read_also_through_a_link_to_the_folder(folder: Path) -> None:
    link = folder.with_name("link")
    link.symlink_to(folder)
    assert [read(root, "inner/file") for root in (folder, link)] == ["ours", "ours"]
    assert file_size(folder / "inner/file") == 4


@pytest.mark.parametrize("to", ["../elsewhere/file", "inner/file"])
def test_link_is_not_followed_wherever_it_leads(folder: Path, to: str) -> None:
    (folder / "link").symlink_to(to)
    with pytest.raises(ImagingError, match="link is a link"):
        open_file(folder, "link")
    with pytest.raises(ImagingError, match="link is a link"):
        file_size(folder / "link")


def test_link_in_the_place_of_a_folder_is_not_followed(folder: Path) -> None:
    (folder / "outer").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(ImagingError, match="folder/outer is a link"):
        open_file(folder, "outer/file")


@pytest.mark.parametrize("name", ["../elsewhere/file", "inner/../../elsewhere/file", "/etc/hostname"])
def test_name_does_not_lead_out(folder: Path, name: str) -> None:
    with pytest.raises(ImagingError, match="leads out of this folder"):
        open_file(folder, name)


def test_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(ImagingError, match="pipe is no regular file"):
        open_file(folder, "pipe")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_device_is_not_opened(folder: Path) -> None:
    """Opening one may do something, such as starting a watchdog. Nothing is behind this number."""
    os.mknod(folder / "device", stat.S_IFCHR | 0o600, os.makedev(240, 255))
    with pytest.raises(ImagingError, match="device is no regular file"):
        open_file(folder, "device")


def test_what_is_missing_or_of_another_kind(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_file(folder, "inner/nothing")
    with pytest.raises(ImagingError, match="inner is no regular file"):
        open_file(folder, "inner")
    with pytest.raises(ImagingError, match="file is no folder"):
        open_file(folder, "inner/file/more")
