# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine whose root is an attacker gets from a controller that works on it: nothing.

A real sshd plays the machine. Ansible, the modules, the action plugins and the tasks of the role are the real ones.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from .hostile import HostileMachine

ROOT = Path(__file__).resolve().parents[2]


def play(tmp_path: Path, hostile: HostileMachine, tasks: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    inventory = {"all": {"hosts": {"pc-01": hostile.variables}}}
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    (tmp_path / "play.json").write_text(json.dumps([{"hosts": "pc-01", "gather_facts": False, "tasks": tasks}]))
    words = ["ansible-playbook", "-i", tmp_path / "inventory.json", tmp_path / "play.json"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_it_answers_modules_and_commands_as_the_test_says(hostile: HostileMachine, tmp_path: Path) -> None:
    hostile.answers("uname", "pc-66\n")
    hostile.answers(r"modules[./]linux_identity", {"changed": False, "machine_id": "f00"})
    tasks = [
        {"ansible.builtin.raw": "uname -n", "register": "called"},
        {"reimage.lab.linux_identity": {"path": "/"}, "register": "identity"},
        {"ansible.builtin.assert": {"that": ["called.stdout | trim == 'pc-66'", "identity.machine_id == 'f00'"]}},
    ]
    done = play(tmp_path, hostile, tasks)
    assert done.returncode == 0, done.stdout
    assert "uname -n" in hostile.heard()[0]["command"]
