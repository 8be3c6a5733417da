# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role hands on what an inventory says of a Windows as it is: no option of sysprep_inject is named twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import Answers, Injection
from ansible_collections.reimage.lab.plugins.module_utils.options import documentation

ROOT = Path(__file__).resolve().parents[3]
OF_THE_WALK = {"computer_name", "image", "template"}
ACCOUNT = {"name": "technician", "password": "correct horse", "group": "Users", "display_name": "Technikerin"}
GIVEN: dict[str, Any] = {
    "time_zone": "UTC",
    "product_key": "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE",
    "locale": "de-DE",
    "ui_language": "en-US",
    "keyboard": "0407:00000407",
    "region": "de-CH",
    "join": {"workgroup": "CLASSROOM"},
    "accounts": [ACCOUNT],
    "auto_logon": {"account": "technician", "count": 2},
    "first_logon_commands": ["first"],
    "specialize_commands": ["second"],
    "remoting": "ssh",
    "ssh_keys": ["ssh-ed25519 AAAA"],
    "drivers": True,
    "device_encryption": True,
    "full_name": "A school",
    "organization": "Its owner",
    "require_generalized": False,
}
CARD = {"mac": "5254.0077.0101", "addresses": ["192.0.2.7/24"]}


def inject(folder: Path, **variables: Any) -> dict[str, Any]:
    """Have the role check what is declared, as it does before a disk is written, and return the module's result."""
    include = {"name": "reimage.lab.reimage", "tasks_from": "systems/windows/inject.yml"}
    tasks = [{"ansible.builtin.include_role": include}]
    variables["ansible_python_interpreter"] = sys.executable
    play = {"hosts": "PC-1", "connection": "local", "gather_facts": False, "tasks": tasks}
    (folder / "play.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        ["ansible-playbook", "-vvv", "-i", "PC-1,", "-e", json.dumps(variables), str(folder / "play.yml")],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_INJECT_FACT_VARS": "false"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    result: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{\n") :])["plays"][0]["tasks"][-1]["hosts"]["PC-1"]
    return result


def test_every_option_arrives_as_it_was_declared(tmp_path: Path) -> None:
    assert GIVEN.keys() | OF_THE_WALK == documentation(Answers, Injection).keys()  # a new option is tried here too
    result = inject(tmp_path, reimage_windows=GIVEN, reimage_interfaces=[CARD])
    assert not result.get("failed"), result
    arrived = result["invocation"]["module_args"]
    hidden = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    wanted = {**GIVEN, "product_key": hidden, "accounts": [{**ACCOUNT, "password": hidden}]}
    assert {name: arrived[name] for name in wanted if name != "join"} == {name: wanted[name] for name in wanted if name != "join"}
    assert arrived["join"]["workgroup"] == "CLASSROOM"
    assert (arrived["interfaces"][0]["mac"], arrived["computer_name"]) == (CARD["mac"], "PC-1")


def test_inventory_goes_before_what_the_role_adds_and_the_walk_before_both(tmp_path: Path) -> None:
    given = {
        "drivers": False,
        "interfaces": [],
        "computer_name": "OTHER",
        "disk": "/dev/nothing",
        "path": "/",
        "join": {"workgroup": "X"},
    }
    blob = "UABDAC0AMQAAAA=="  # PC-1
    result = inject(
        tmp_path, reimage_windows=given, reimage_interfaces=[CARD], reimage_drivers="//server/drivers", reimage_blob=blob
    )
    arrived = result["invocation"]["module_args"]
    assert (arrived["drivers"], arrived["interfaces"], arrived["join"]["workgroup"]) == (False, [], "")
    assert (arrived["computer_name"], arrived["disk"], arrived["path"]) == ("PC-1", None, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"tiem_zone": "UTC"}, "Unsupported parameters .* tiem_zone"), ({"locale": "german"}, "locale: 'german' is not a language")],
)
def test_mistake_is_named_before_a_disk_is_written(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    result = inject(tmp_path, reimage_windows=given)
    assert result["failed"]
    assert re.search(said, result["msg"])
