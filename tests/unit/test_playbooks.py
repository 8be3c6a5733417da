# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Before a playbook asks a machine for anything, it looks at how Ansible is configured."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda file: file.stem)
def test_each_playbook_begins_with_a_look_at_the_configuration(playbook: Path) -> None:
    plays = yaml.safe_load(playbook.read_text())
    if "ansible.builtin.import_playbook" in plays[0]:
        assert (playbook.parent / plays[0]["ansible.builtin.import_playbook"]).is_file()
        return
    # A limit may leave localhost out; where nothing else is worked on first, it is localhost's to look.
    elsewhere = [play for play in plays if play.get("hosts", "localhost") != "localhost"]
    first = plays[0] if playbook.stem == "virtual_lab" else elsewhere[0]
    assert first["gather_facts"] is False
    assert [*first.get("pre_tasks", []), *first.get("tasks", [])][0]["ansible.builtin.import_tasks"] == "tasks/configuration.yml"


def test_playbook_refuses_facts_as_variables_and_says_why() -> None:
    words = ["ansible-playbook", "-i", "pc-01,", "-e", "target=pc-01", "reimage.lab.reimage_lab", "--limit", "pc-01"]
    environment = {**os.environ, "ANSIBLE_INJECT_FACT_VARS": "true"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "Set inject_facts_as_vars = False" in done.stdout
    assert "Nothing was done." in done.stdout


def test_diagnose_says_of_machines_with_and_without_a_place_in_the_inventory_where_they_stopped(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/boot.json").write_text('{"url": "http://127.0.0.1", "targets": {}}')
    server = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups = {
        "imaging_server": {"hosts": {"server": server}},
        "machines": {"hosts": {"pc-01": {"reimage_macs": ["52:54:00:77:01:01", "52:54:00:77:01:02"]}}},
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    given = [f"reimage_root={tmp_path}", "reimage_watch=0", "target=pc-01", "mac=52:54:00:77:01:09"]
    words = ["ansible-playbook", "-i", str(tmp_path / "hosts.yml"), "reimage.lab.diagnose", *(f"-e{word}" for word in given)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    for name in ("pc-01", "52-54-00-77-01-09"):
        assert f"{name}: nothing of it has arrived: see that it is switched on" in done.stdout
    assert "changed=1" not in done.stdout


def test_configurations_that_are_shipped_are_safe() -> None:
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "ansible.cfg")
    assert not configuration.getboolean("defaults", "inject_facts_as_vars")
    molecule = yaml.safe_load((ROOT / "extensions/molecule/config.yml").read_text())
    assert molecule["ansible"]["cfg"]["defaults"]["inject_facts_as_vars"] is False
