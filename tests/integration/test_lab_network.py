# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two labs with one prefix, of two clones for instance, do not get into each other's networks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Iterator

import pytest

SCRIPT = Path(__file__).parents[2] / "roles/virtual_lab/files/network"
PREFIX = f"test-{os.getpid()}"


def network(verb: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, verb, PREFIX, *arguments], capture_output=True, text=True, check=False)


def namespaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {word for word in listed.split() if word.startswith(f"{PREFIX}-")}


def living() -> list[str]:
    """Return the ids of the processes in the lab."""
    command = ["ip", "netns", "pids", f"{PREFIX}-lab"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    """The folder of a lab whose networks are there."""
    root = tmp_path / "mine"
    root.mkdir()
    assert network("up", root, "lan").returncode == 0
    yield root
    network("down", root)
    assert not namespaces()


def test_lab_is_refused_what_another_one_uses(mine: Path, tmp_path: Path) -> None:
    assert network("up", mine, "lan").returncode == 0
    refused = network("up", tmp_path / "other", "lan")
    assert refused.returncode == 1
    assert f"The lab of {mine} runs with the prefix {PREFIX}" in refused.stderr


def test_lab_is_taken_away_by_its_own_clone_only(mine: Path, tmp_path: Path) -> None:
    assert network("down", tmp_path / "other").returncode == 0
    assert namespaces() == {f"{PREFIX}-lab"}


def test_lab_whose_clone_was_deleted_can_be_taken_away(mine: Path, tmp_path: Path) -> None:
    mine.rmdir()
    assert network("down", tmp_path / "other").returncode == 0
    assert not namespaces()


def test_what_a_killed_run_left_behind_does_not_stand_in_the_way(mine: Path, tmp_path: Path) -> None:
    assert network("machine", "server", "lan=192.0.2.1/24").returncode == 0
    assert living(), "nothing lives in a lab that has just been made"
    subprocess.run(["kill", "-KILL", *living()], check=True)
    other = tmp_path / "other"
    other.mkdir()
    try:
        assert network("up", other, "lan").returncode == 0
        assert namespaces() == {f"{PREFIX}-lab"}
        assert network("up", mine, "lan").returncode == 1
    finally:
        network("down", other)


def test_name_that_a_crash_of_the_computer_left_does_not_stand_in_the_way(mine: Path) -> None:
    assert network("down", mine).returncode == 0
    Path(f"/run/netns/{PREFIX}-lab").touch()
    assert network("up", mine, "lan").returncode == 0
    assert living()
