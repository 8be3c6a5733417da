# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs of the boot server, sent by Ansible itself and run by a Python that knows nothing of Ansible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ..module import run


def test_program_is_complete_and_installed_once(tmp_path: Path) -> None:
    library, root = tmp_path / "library", tmp_path / "boot"
    planned = run("checkin_program", check=True, path=str(library))
    assert planned["changed"] and not library.exists()
    first = run("checkin_program", path=str(library))
    assert first["files"] == planned["files"]
    assert [run("checkin_program", path=str(library))[key] for key in ("changed", "files")] == [False, []]

    for folder in ("arrivals", "tokens"):
        (root / folder).mkdir(parents=True)
    (root / "boot.json").write_text(json.dumps({"url": "http://10.77.1.2", "targets": {}}))
    (root / "arrivals" / f"{'0' * 32}@10.77.1.101@{'1' * 32}.json").write_text("{}")
    assert execute(library, "boot.arrivals", root) == "a check-in from 10.77.1.101 was refused: its token is not open\n"
    assert list((root / "arrivals").iterdir()) == []

    (root / "tokens/52-54-00-77-01-01.json").write_text(
        json.dumps({"mac": "52:54:00:77:01:01", "target": "automation", "token": "0" * 32, "armed_at": 1})
    )
    assert execute(library, "fleet.expiry", root) == ""


def execute(library: Path, program: str, root: Path) -> str:
    """Return what an installed program says when it is started as its unit does it."""
    module = f"ansible_collections.reimage.lab.plugins.module_utils.{program}"
    words = [sys.executable, "-s", "-S", "-B", "-m", module, str(root)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(library)}
    done = subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
