# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two labs with one prefix, of two clones for instance, do not get into each other's networks."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Iterator

import pytest

SCRIPT = Path(__file__).parents[2] / "roles/virtual_lab/files/network"
PREFIX = "test-two-labs"


def network(verb: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, verb, PREFIX, *arguments], capture_output=True, text=True, check=False)


def running() -> bool:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return f"{PREFIX}-lab" in listed.split()


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    """The folder of a lab whose networks are there."""
    root = tmp_path / "mine"
    root.mkdir()
    assert network("up", root, "lan").returncode == 0
    yield root
    network("down", root)
    assert not running()


def test_lab_is_refused_what_another_one_uses(mine: Path, tmp_path: Path) -> None:
    assert network("up", mine, "lan").returncode == 0
    refused = network("up", tmp_path / "other", "lan")
    assert refused.returncode == 1
    assert f"The lab of {mine} runs with the prefix {PREFIX}" in refused.stderr


def test_lab_is_taken_away_by_its_own_clone_only(mine: Path, tmp_path: Path) -> None:
    assert network("down", tmp_path / "other").returncode == 0
    assert running()


def test_lab_whose_clone_was_deleted_can_be_taken_away(mine: Path, tmp_path: Path) -> None:
    mine.rmdir()
    assert network("down", tmp_path / "other").returncode == 0
    assert not running()
