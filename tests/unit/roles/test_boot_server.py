# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role boot_server refuses what no machine could boot before it changes anything on the server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_unknown_kind_of_a_boot_target_is_refused_first(tmp_path: Path) -> None:
    targets = {"automation": {"kernel": "automation/vmlinuz"}, "setup": {"kind": "iso", "file": "setup.iso"}}
    role = {"role": "reimage.lab.boot_server", "boot_server_root": str(tmp_path / "boot"), "boot_server_targets": targets}
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": [role]}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    words = ["ansible-playbook", "-i", "localhost,", str(tmp_path / "play.yml")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "boot_server_targets has a target of kind iso: choose one of kernel, local" in done.stdout
    assert "Install nginx" not in done.stdout
    assert not (tmp_path / "boot").exists()
