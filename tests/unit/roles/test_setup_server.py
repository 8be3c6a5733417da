# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server is set up with the accounts and passwords that the walk uses later: they are said once, in the role's defaults."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
SHARED = {
    "image_share_user": "reimage_share_user",
    "image_share_password": "reimage_share_password",
    "image_share_reader": "reimage_drivers_user",
    "image_share_reader_password": "reimage_drivers_password",
}


def both(folder: Path, **inventory: Any) -> list[dict[str, Any]]:
    """Return what the playbook hands to role image_share, and what the walk finds for a machine, with one inventory."""
    (play,) = yaml.safe_load((ROOT / "playbooks/setup_server.yml").read_text())
    given = next(role["vars"] for role in play["roles"] if role["role"] == "reimage.lab.image_share")
    first = {
        **play,
        "become": False,
        "gather_facts": False,
        "connection": "local",
        "pre_tasks": [task for task in play["pre_tasks"] if "ansible.builtin.import_role" in task],
        "roles": [],
    }
    first["tasks"] = [{"ansible.builtin.debug": {"msg": {name: given[name] for name in SHARED}}}]
    include = {"name": "reimage.lab.reimage", "tasks_from": "defaults.yml", "public": True}
    walk = {"msg": {name: f"{{{{ {source} }}}}" for name, source in SHARED.items()}}
    tasks = [{"ansible.builtin.include_role": include}, {"ansible.builtin.debug": walk}]
    second = {"hosts": "pc-01", "connection": "local", "gather_facts": False, "tasks": tasks}
    (folder / "play.yml").write_text(json.dumps([first, second]))
    hosts = {"imaging_server": {"hosts": {"server": {}}}, "machines": {"hosts": {"pc-01": {}}}}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"vars": inventory, "children": hosts}}))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "var/collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
    }
    words = ["ansible-playbook", "-i", "hosts.yml", "play.yml"]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    plays = json.loads(done.stdout)["plays"]
    return [host["msg"] for play in plays for task in play["tasks"] for host in task["hosts"].values() if "msg" in host]


def test_passwords_are_made_once_and_the_same_for_server_and_walk(tmp_path: Path) -> None:
    server, walk = both(tmp_path)
    assert server == walk
    assert (server["image_share_user"], server["image_share_reader"]) == ("capture", "deploy")
    secrets = tmp_path / "var/secrets"
    assert (secrets / "image_share_password").read_text().strip() == server["image_share_password"]
    assert (secrets / "image_share_reader_password").read_text().strip() == server["image_share_reader_password"]
    assert len(server["image_share_password"]) == 24 and server["image_share_password"] != server["image_share_reader_password"]


def test_passwords_of_the_inventory_are_used_and_none_is_made(tmp_path: Path) -> None:
    given = {source: f"own-{source}" for source in SHARED.values()}
    server, walk = both(tmp_path, **given)
    assert server == walk == {name: f"own-{source}" for name, source in SHARED.items()}
    assert not (tmp_path / "var").exists()
