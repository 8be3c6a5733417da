# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.files import read_json, read_text, remove, write_text


def test_written_file_is_whole_and_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "one", mode=0o600)
    write_text(tmp_path / "a", "two", mode=0o600)
    assert read_text(tmp_path / "a") == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(BootError, match="cannot be written"):
        write_text(tmp_path / "a", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="nowhere/a: cannot be written"):
        write_text(tmp_path / "nowhere" / "a", "text")


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BootError, match="cannot be read"):
        read_json(tmp_path / "link")


def test_large_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("[" * 2000)
    with pytest.raises(BootError, match="larger than 1000 bytes"):
        read_json(tmp_path / "a", 1000)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff{}", b"[" * 900_000])
def test_what_is_not_a_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(BootError, match="is not"):
        read_json(tmp_path / "a")


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(BootError, match="not a regular file"):
        read_text(tmp_path / "a")


def test_missing_file_is_none_and_its_removal_nothing(tmp_path: Path) -> None:
    assert read_text(tmp_path / "a") is None
    remove(tmp_path / "a")
