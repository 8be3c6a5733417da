# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scripts that judge a change, on clones made for the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
IDENTITY = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]


def git(clone: Path, *arguments: str) -> None:
    subprocess.run(["git", *IDENTITY, *arguments], cwd=clone, check=True, capture_output=True)


def commit(clone: Path, *files: str) -> None:
    for file in files:
        path = clone / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{path.exists()}")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "a change")


def check_fragment(clone: Path, base: str = "main") -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPTS / "check-fragment", base], cwd=clone, check=False, capture_output=True, text=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone on a branch that begins where main is."""
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    commit(tmp_path, "plugins/modules/old.py", "changelogs/fragments/old.yml")
    git(tmp_path, "checkout", "--quiet", "-b", "change")
    return tmp_path


@pytest.mark.parametrize("file", ["plugins/modules/new.py", "roles/new/tasks/main.yml", "playbooks/new.yml"])
def test_a_change_without_a_fragment_is_refused(clone: Path, file: str) -> None:
    commit(clone, file)
    done = check_fragment(clone)
    assert done.returncode == 1
    assert f"  {file}\n" in done.stderr
    assert "CONTRIBUTING.md" in done.stderr


@pytest.mark.parametrize("fragment", ["changelogs/fragments/new.yml", "changelogs/fragments/old.yml"])
def test_a_change_with_a_fragment_new_or_edited_passes(clone: Path, fragment: str) -> None:
    commit(clone, "plugins/modules/old.py", fragment)
    assert check_fragment(clone).returncode == 0


def test_a_fragment_that_was_deleted_does_not_count(clone: Path) -> None:
    git(clone, "rm", "--quiet", "changelogs/fragments/old.yml")
    commit(clone, "plugins/modules/old.py")
    assert check_fragment(clone).returncode == 1


def test_documentation_and_tests_need_none(clone: Path) -> None:
    commit(clone, "roles/new/README.md", "docs/new.md", "tests/unit/test_new.py")
    assert check_fragment(clone).returncode == 0


def test_changes_of_others_on_the_branch_do_not_count(clone: Path) -> None:
    git(clone, "checkout", "--quiet", "main")
    commit(clone, "plugins/modules/theirs.py")
    git(clone, "checkout", "--quiet", "change")
    commit(clone, "docs/ours.md")
    assert check_fragment(clone).returncode == 0


def test_without_the_branch_there_is_nothing_to_compare_with(clone: Path) -> None:
    commit(clone, "plugins/modules/new.py")
    done = check_fragment(clone, "origin/main")
    assert (done.returncode, done.stdout) == (0, "There is no origin/main to compare with: not checked.\n")
