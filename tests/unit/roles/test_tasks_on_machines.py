# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs on a machine goes through actions that believe nothing of it but what is documented."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from ansible_collections.reimage.lab.plugins.plugin_utils.machine import MachineAction
from ansible_collections.reimage.lab.plugins.plugin_utils.results import documented

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
ROUTES = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["plugin_routing"]["modules"]
ROLE = sorted((ROOT / "roles/reimage/tasks").rglob("*.yml"))
# Ansible does these by itself: no machine is asked, and none answers.
CONTROLLER = {
    f"ansible.builtin.{name}"
    for name in ("assert", "debug", "fail", "include_role", "include_tasks", "import_role", "import_tasks", "meta", "set_fact")
}
# Whose answers are believed: the controller's own, and the imaging server's.
TRUSTED = ("localhost", "{{ reimage_server }}")


def tasks_in(entries: list[dict[str, Any]] | None) -> Iterator[dict[str, Any]]:
    for entry in entries or []:
        parts = [entry[part] for part in ("block", "rescue", "always") if part in entry]
        for part in parts:
            yield from tasks_in(part)
        if not parts:
            yield entry


def untrusted(task: dict[str, Any]) -> set[str]:
    """Return the action of a task that runs on a machine, if its answer would be believed."""
    actions = {key for key in task if "." in key}  # by their full names, as ansible-lint wants them
    assert len(actions) == 1, f"what is the action of this task? {sorted(task)}"
    if task.get("delegate_to") in TRUSTED:
        return set()
    return {name for name in actions - CONTROLLER if not (name.startswith("reimage.lab.") and serves(name))}


def serves(action: str) -> bool:
    """Whether a module of ours runs through an action plugin that believes what is documented only."""
    module = action.rpartition(".")[2]
    plugin = ROUTES.get(module, {}).get("action_plugin", action).rpartition(".")[2]
    if not (ROOT / "plugins/action" / f"{plugin}.py").exists():
        return False
    found = importlib.import_module(f"ansible_collections.reimage.lab.plugins.action.{plugin}")
    return issubclass(found.ActionModule, MachineAction)


@pytest.mark.parametrize("file", ROLE, ids=lambda file: str(file.relative_to(ROOT)))
def test_tasks_of_the_role_believe_no_machine(file: Path) -> None:
    for task in tasks_in(yaml.safe_load(file.read_text())):
        assert untrusted(task) == set(), f"{task['name']}: use reimage.lab.machine_command, or a module of this collection"


def test_no_machine_can_hold_up_a_run() -> None:
    """These bound each of their commands by themselves; for any other module, the task does."""
    bounded = {f"reimage.lab.{name}" for name in ("machine_command", "image_capture", "image_deploy")}
    for file in ROLE:
        for task in tasks_in(yaml.safe_load(file.read_text())):
            on_machine = {key for key in task if "." in key} - CONTROLLER - bounded
            if on_machine and task.get("delegate_to") not in TRUSTED:
                assert "timeout" in task, f"{file}: {task['name']}"


def test_plays_on_machines_believe_none() -> None:
    servers = ("localhost", "routers", "{{ target | default('imaging_server') }}", "{{ target | default('routers') }}")
    plays = [play for file in (ROOT / "playbooks").glob("*.yml") for play in yaml.safe_load(file.read_text()) if "hosts" in play]
    on_machines = [play for play in plays if play["hosts"] not in servers]
    assert len(on_machines) > 4
    for play in on_machines:
        assert play["gather_facts"] is False
        assert [task["name"] for task in tasks_in(play["tasks"]) if untrusted(task)] == []


def test_task_that_would_believe_a_machine_is_found() -> None:
    task = {"name": "Read", "ansible.builtin.slurp": {"src": "/etc/machine-id"}}
    assert untrusted(task) == {"ansible.builtin.slurp"}
    assert untrusted({**task, "delegate_to": "localhost"}) == set()
    assert untrusted({**task, "delegate_to": "{{ inventory_hostname }}"}) == {"ansible.builtin.slurp"}


@pytest.mark.parametrize("module", MODULES)
def test_module_runs_through_an_action_that_believes_what_it_documents(module: str) -> None:
    assert serves(f"reimage.lab.{module}"), f"name {module} in meta/runtime.yml"
    assert {"changed", "failed", "msg"} <= set(documented(f"reimage.lab.{module}"))
