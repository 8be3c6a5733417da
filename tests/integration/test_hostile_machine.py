# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine whose root is an attacker gets from a controller that works on it: nothing.

A real sshd plays the machine, in production and in automation. Ansible, the modules, the action plugins and the tasks of the role
are the real ones. Facts are even injected as variables here, as in a configuration of the user's own.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .hostile import MODULE, HostileMachine

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
OPTIONS = {
    "machine_command": {"cmd": "uname -n"},
    "image_capture": {"timeout": 20},
    "image_deploy": {"timeout": 20},
    "wait_for_checkin": {"mac": "52:54:00:77:01:01", "timeout": 0},
}
WANTED = "lab/20261121T010000Z"
SEQUENCE = "\x1b[31mred\x1b]0;title\x07\x9b2J"
WALKS = yaml.safe_load((ROOT / "roles/reimage/vars/walk.yml").read_text())["reimage_walks"]
# Where the role works on a machine: all steps of its walks, and what it does besides.
STEPS = list(
    dict.fromkeys(
        [
            *(
                (step["in"], step["do"])
                for walk in WALKS.values()
                for step in walk
                if step.get("in") in ("production", "automation")
            ),
            ("production", "ask_production.yml"),
            ("production", "states/try_production.yml"),
            ("production", "systems/SYSTEM/prove.yml"),
            ("automation", "show_failure.yml"),
        ]
    )
)
JOB = {"started": 1, "finished": 0, "ansible_job_id": "j7.8", "results_file": "/root/.ansible_async/j7.8"}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the controller's that no machine is to see."""
    file = tmp_path / "id_ed25519"
    file.write_text("the controller's own key")
    return file


@pytest.fixture
def attack(secret: Path) -> dict[str, Any]:
    """All that Ansible would take out of the result of a module, in one."""
    facts = {
        "reimage_identity": "windows",
        "reimage_windows_template": str(secret),
        "ansible_local": {"reimage": "owned"},
        "ansible_host": "192.0.2.99",
        "discovered_interpreter_python": "/tmp/owned",
    }
    return {
        "changed": False,
        "ansible_facts": facts,
        "_ansible_facts_cacheable": True,
        "_ansible_delegated_vars": {"ansible_delegated_host": "localhost", **facts},
        f"_ansible_{SEQUENCE}": SEQUENCE,
        "ansible_stats": {"data": {"owned": 1}, "per_host": False},
        "add_host": {"host_name": "localhost", "groups": ["owned"], "host_vars": {"ansible_python_interpreter": "/tmp/owned"}},
        "add_group": "owned",
        "parent_groups": ["all"],
        "warnings": [SEQUENCE],
        "deprecations": [{"msg": SEQUENCE}],
        "invocation": {"module_args": {"owned": SEQUENCE}},
        "owned": True,
        **JOB,
    }


class Played:
    """A playbook that ran; C(variables) are those of the machine, C(registered) those of them that its tasks registered."""

    def __init__(self, folder: Path, machine: HostileMachine, tasks: list[dict[str, Any]], **variables: Any) -> None:
        hosts = {
            "pc-01": {**machine.variables, **variables},
            "server": {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"},
        }
        dump = {"variables": "{{ hostvars['pc-01'] }}", "local": "{{ hostvars['localhost'] }}", "groups": "{{ groups }}"}
        file = folder / "variables.json"
        save = {"dest": str(file), "content": "{{ dump | to_json }}"}
        always = [{"ansible.builtin.copy": save, "delegate_to": "localhost", "vars": {"dump": dump}}]
        plays = [{"hosts": "pc-01", "gather_facts": False, "tasks": [{"block": tasks, "always": always}]}]
        (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
        (folder / "play.json").write_text(json.dumps(plays))
        words = ["ansible-playbook", "-i", folder / "inventory.json", folder / "play.json"]
        environment = {**os.environ, "ANSIBLE_INJECT_FACT_VARS": "true", "ANSIBLE_SHOW_CUSTOM_STATS": "true"}
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180)
        self.returncode, self.said = done.returncode, done.stdout + done.stderr
        assert file.exists(), self.said
        found = json.loads(file.read_text())
        self.variables, self.local, self.groups = found["variables"], found["local"], found["groups"]
        names = {task.get("register") for task in tasks}
        self.registered = {name: self.variables.pop(name) for name in names if name in self.variables}


def assert_not_owned(played: Played) -> None:
    for variables in (played.variables, played.local):
        assert "owned" not in json.dumps(variables), variables
        assert variables.get("ansible_facts", {}) == {}
        assert variables.get("ansible_local", {}) == {}
    assert "owned" not in played.groups
    assert_plain(played.said)
    assert "owned" not in played.said


def assert_plain(said: str) -> None:
    assert [char for char in said if not char.isprintable() and char != "\n"] == []


def test_builtin_module_lets_a_machine_write_variables_so_the_attack_is_real(
    hostile: HostileMachine, attack: dict[str, Any], tmp_path: Path
) -> None:
    hostile.answers(MODULE, attack)
    played = Played(tmp_path, hostile, [{"ansible.builtin.stat": {"path": "/"}}], reimage_identity="linux")
    assert (played.variables["reimage_identity"], played.variables["ansible_local"]) == ("windows", {"reimage": "owned"})
    assert "\x1b" in played.said


def test_no_module_of_ours_lets_a_machine_write_variables(
    hostile: HostileMachine, attack: dict[str, Any], tmp_path: Path
) -> None:
    """Each of them, whatever action plugin it has: the machine answers them all alike."""
    hostile.answers(f"{MODULE}|async_wrapper|uname", attack)
    hostile.answers("sh -c .cat ", "\n" + json.dumps({**attack, "finished": 1}))  # of the progress, then of the job's result
    tasks = [{f"reimage.lab.{name}": OPTIONS.get(name, {}), "register": name, "ignore_errors": True} for name in MODULES]
    played = Played(tmp_path, hostile, tasks, reimage_identity="linux", reimage_windows_template="")
    assert set(played.registered) == set(MODULES)
    assert_not_owned(played)
    assert (played.variables["reimage_identity"], played.variables["reimage_windows_template"]) == ("linux", "")
    for name, result in played.registered.items():
        assert {"ansible_facts", "ansible_stats", "add_host", "add_group", "owned"}.isdisjoint(result), name
        assert "owned" not in json.dumps(result) or name == "machine_command", name  # whose result is what it prints


@pytest.fixture
def walked(hostile: HostileMachine, attack: dict[str, Any], tmp_path: Path) -> Played:
    """All that the role does on a machine, in production and in automation, on one that answers each step with the attack."""
    honest = {
        "linux_identity": {"host_keys": ["ssh-ed25519 AAAA\n* ssh-ed25519 BBBB"], "machine_id": "f00"},
        "image_deploy": {"image": WANTED, "disk": "/dev/vda", "bytes_written": 1, "seconds": 1.0},
        "image_capture": {"image": WANTED},
    }
    hostile.answers(MODULE, attack)
    for module, result in honest.items():
        hostile.answers(f"{MODULE}(.|\n)*plugins.modules.{module}", {**attack, **result})
    hostile.answers("async_wrapper", attack)
    hostile.answers("sh -c .cat ", "\n" + json.dumps({**attack, "finished": 1}))
    hostile.answers(f"{MODULE}(.|\n)*async_status", {**attack, **honest["image_deploy"], "finished": 1})
    hostile.answers("identity.json", json.dumps({"image": WANTED, "hostname": f"pc-01{SEQUENCE}", **attack}))
    hostile.answers("uname", f"pc-01{SEQUENCE}\n")
    hostile.answers("machine-id", f"f00\nAAAA{SEQUENCE}\n/dev/vda2\n")
    challenge = {"nonce": "n0", "answer": "f" * 64}
    hostile.answers(
        "^printf %s%s n0 ", f"{challenge['answer']}  -\nb1\n"
    )  # it was armed, and shows the token that it was started with
    known = tmp_path / "known"
    known.mkdir()
    for system in ("automation", "production"):
        (known / f"pc-01.{system}").write_text(f"{hostile.variables['ansible_host']} {hostile.host_keys[0]}\n")
    tasks = [
        {
            "block": [
                {
                    "ansible.builtin.include_role": {"name": "reimage.lab.reimage", "tasks_from": f"in_{place}.yml"},
                    "vars": {"reimage_do": do.replace("SYSTEM", "{{ reimage_identity }}")},
                }
            ],
            "rescue": [{"ansible.builtin.debug": {"msg": "reached: {{ ansible_failed_task.name }}"}}],
        }
        for place, do in STEPS
    ]
    address = hostile.variables["ansible_host"]
    checkin = {"address": address, "host_keys": hostile.host_keys, "build": "b1", "challenge": challenge}
    return Played(
        tmp_path,
        hostile,
        tasks,
        reimage_server="server",
        reimage_root=str(tmp_path),
        reimage_known_hosts=str(known),
        reimage_macs=["52:54:00:77:01:01"],
        reimage_seen={"checkin": checkin},
        reimage_looked_up={"images": [{"name": "lab", "version": "20261121T010000Z", "digest": "0" * 64}]},
        reimage_image="lab",
        reimage_share_password="password of the share",
        reimage_failure="it failed",
        reimage_proof={},
    )


def test_machine_gets_no_variable_and_no_file_through_the_role(walked: Played, hostile: HostileMachine, secret: Path) -> None:
    assert_not_owned(walked)
    for name in ("reimage_identity", "reimage_windows_template"):
        assert name not in walked.variables
    heard = json.dumps(hostile.heard())
    assert "linux_identity" in heard  # it was asked to do what the inventory says
    assert "sysprep_inject" not in heard
    assert secret.read_text() not in heard


def test_machine_that_answers_nonsense_has_failed_in_words_that_can_be_shown(hostile: HostileMachine, tmp_path: Path) -> None:
    nonsense: dict[str, dict[str, Any]] = {
        "a_failure": {"stdout": {"failed": True, "msg": SEQUENCE, "exception": SEQUENCE}},
        "a_crash": {"stdout": SEQUENCE, "stderr": f"Traceback\n{SEQUENCE}", "rc": 1},
        "no_connection": {"stderr": SEQUENCE, "rc": 255},
        "no_json": {"stdout": f"{SEQUENCE}{{"},
        "junk": {"stdout": f'{SEQUENCE}\n{{"changed": true}}\n{SEQUENCE}'},
        "a_list": {"stdout": "[1]"},
        "nested": {"stdout": '{"ansible_facts": ' + "[" * 20_000 + "]" * 20_000 + "}"},
        "another_type": {"stdout": {"changed": True, "machine_id": [SEQUENCE]}},
        "not_a_number": {"stdout": '{"changed": NaN}'},
        "a_type_of_ansible": {"stdout": {"__ansible_type": "WarningSummary", "event": SEQUENCE}},
    }
    for name, answer in nonsense.items():
        hostile.answers(f'{MODULE}(.|\n)*"{name}"', **answer)
    hostile.answers("a-command", stdout=SEQUENCE, stderr=SEQUENCE, rc=3)
    hostile.answers("a-lost-command", stderr=SEQUENCE, rc=255)
    hostile.answers("a-command-that-never-ends", seconds=1000)
    commands = {"command": "a-command", "lost": "a-lost-command", "endless": "a-command-that-never-ends"}
    tasks = [{"reimage.lab.linux_identity": {"path": "/", "hostname": name}, "register": name} for name in nonsense]
    tasks += [{"reimage.lab.machine_command": {"cmd": cmd, "timeout": 10}, "register": name} for name, cmd in commands.items()]
    played = Played(tmp_path, hostile, [{**task, "ignore_errors": True} for task in tasks])
    assert_plain(played.said)
    assert "UNREACHABLE" not in played.said
    for name, result in played.registered.items():
        assert_plain(json.dumps(result, ensure_ascii=False))
        assert bool(result.get("failed")) == (name != "junk"), (name, result)
        assert result["msg"] if name != "junk" else result["changed"]
    assert "machine_id: a list is not text" in played.registered["another_type"]["msg"]
    assert "it stopped answering" in played.registered["no_connection"]["msg"]
    assert (played.registered["command"]["rc"], "31mred" in played.registered["command"]["msg"]) == (3, True)
    assert "it does not answer" in played.registered["lost"]["msg"]
    assert played.registered["endless"]["msg"] == "it did not end within 10 s: a-command-that-never-ends"
