# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The library that runs as root on every machine is the one that the role names by its hash, wherever it is from. pip is real."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHEEL = "blake3-1.2.3-cp311-cp311-manylinux_2_17_x86_64.whl"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Return a folder that pip fetches from, with a small wheel."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("blake3/__init__.py", "")
        wheel.writestr("blake3-1.2.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: blake3\nVersion: 1.2.3\n")
        wheel.writestr("blake3-1.2.3.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_17_x86_64\n")
        wheel.writestr("blake3-1.2.3.dist-info/RECORD", "")
    return folder


def bring(tmp_path: Path, sha256: str) -> subprocess.CompletedProcess[str]:
    """Run the tasks that bring the library along."""
    (tmp_path / "cache/source").mkdir(parents=True, exist_ok=True)
    variables: dict[str, Any] = {
        "automation_image_cache": str(tmp_path / "cache"),
        "automation_image_wheels": str(tmp_path / "wheels"),
        "automation_image_blake3": "1.2.3",
        "automation_image_blake3_sha256": sha256,
        "automation_image_authorized_keys": ["ssh-ed25519 AAAA"],
    }
    role = {"name": "reimage.lab.automation_image", "tasks_from": "blake3.yml"}
    play = [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [{"ansible.builtin.include_role": role}]}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index"), "PIP_EXTRA_INDEX_URL": ""}
    words = ["ansible-playbook", str(tmp_path / "play.yml")]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_pip_fetches_is_checked(tmp_path: Path, index: Path) -> None:
    refused = bring(tmp_path, "0" * 64)
    assert refused.returncode == 2 and "DO NOT MATCH THE HASHES" in refused.stdout
    assert not list(tmp_path.glob("wheels/*")) and not list(tmp_path.glob("cache/source/*"))
    assert bring(tmp_path, digest(index / WHEEL)).returncode == 0
    assert digest(tmp_path / "cache/source/blake3.whl") == digest(index / WHEEL)


def test_what_somebody_put_there_is_checked(tmp_path: Path, index: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / WHEEL).write_bytes(b"something else")
    refused = bring(tmp_path, digest(index / WHEEL))
    assert refused.returncode == 2 and "delete the file, so that it is fetched again" in refused.stdout
    assert not list(tmp_path.glob("cache/source/*"))


def test_image_is_built_without_it_where_it_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "cache/source").mkdir(parents=True)
    (tmp_path / "cache/source/blake3.whl").write_bytes(b"of an earlier time, with another hash")
    done = bring(tmp_path, "0" * 64)
    assert done.returncode == 0 and "BLAKE3 could not be fetched" in done.stdout
    assert not list(tmp_path.glob("cache/source/*"))
