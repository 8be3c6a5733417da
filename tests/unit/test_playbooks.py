# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Before a playbook asks a machine for anything, it looks at how Ansible is configured."""

from __future__ import annotations

import configparser
import os
import subprocess
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


def test_configurations_that_are_shipped_are_safe() -> None:
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "ansible.cfg")
    assert not configuration.getboolean("defaults", "inject_facts_as_vars")
    molecule = yaml.safe_load((ROOT / "extensions/molecule/config.yml").read_text())
    assert molecule["ansible"]["cfg"]["defaults"]["inject_facts_as_vars"] is False
