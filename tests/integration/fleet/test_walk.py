# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The walk of the role, by real runs of Ansible, over SSH: its states, its hooks, and that two runs do not walk one machine."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until

from .machine import MAC, Machine, kill

STATES = ["armed", "booted", "preflight", "writing", "verified", "identified", "released", "first_boot", "reachable", "done"]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as machine:
        yield machine


def states(machine: Machine) -> list[str]:
    return [entry["state"] for entry in machine.record()["history"]]


def hook(machine: Machine, name: str, *words: str) -> str:
    """Write a hook that logs the place where it runs, and return its path."""
    path = machine.folder / f"{name}.yml"
    run = {"argv": [str(machine.folder / "bin/log"), name, *words]}
    path.write_text(json.dumps([{"name": f"Hook {name}", "ansible.builtin.command": run}]))
    return str(path)


def test_machine_walks_all_states_and_hooks_run_in_the_place_of_their_step(machine: Machine) -> None:
    hooks = {
        "before": {"armed": [hook(machine, "h1")], "writing": [hook(machine, "h3")], "reachable": [hook(machine, "h6")]},
        "after": {
            "armed": [hook(machine, "h2")],
            "writing": [hook(machine, "h4"), hook(machine, "h5")],
            "reachable": [hook(machine, "h7")],
        },
    }
    status, said = machine.run(machine.command(reimage_hooks=hooks))
    assert status == 0, said[-4000:]
    assert machine.logged() == [
        "controller h1",
        "controller h2",
        "automation h3",
        "automation writing",
        "automation written",
        "automation h4",
        "automation h5",
        "production h6",
        "production h7",
    ]
    assert states(machine) == STATES


def test_hook_that_fails_is_recorded_as_the_failure_of_its_machine(machine: Machine) -> None:
    path = machine.folder / "hook.yml"
    path.write_text(json.dumps([{"name": "Look for the projector", "ansible.builtin.fail": {"msg": "there is none"}}]))
    status, said = machine.run(machine.command(reimage_hooks={"before": {"writing": [str(path)]}}))
    assert status == 2, said[-4000:]
    assert states(machine) == ["armed", "booted", "preflight", "writing", "failed"]
    assert machine.record()["reason"] == "there is none"
    assert machine.logged() == []


def test_run_that_lost_its_lease_stops_at_its_next_step_and_records_nothing(machine: Machine) -> None:
    """As if it had slept for longer than its lease, and another run had taken the machine since."""
    lease = machine.boot / "leases" / f"{MAC.replace(':', '-')}.json"
    taken = {"mac": MAC, "run": "elsewhere/1/1", "holder": "you@elsewhere", "purpose": "capture it", "seconds": 600}
    taken.update(taken_at=time.time(), expires_at=time.time() + 600)
    path = machine.folder / "hook.yml"
    path.write_text(json.dumps([{"ansible.builtin.copy": {"dest": str(lease), "content": json.dumps(taken)}}]))
    status, said = machine.run(machine.command(reimage_hooks={"after": {"booted": [str(path)]}}))
    assert status == 2, said[-4000:]
    assert f"{MAC} is held by you@elsewhere to capture it, until " in said
    assert states(machine) == ["armed", "booted"]
    assert json.loads(lease.read_text()) == taken


def test_of_two_runs_that_start_together_one_gets_the_machine(machine: Machine, tmp_path: Path) -> None:
    command = machine.command(test_writing=2)
    logs = [tmp_path / "one", tmp_path / "other"]
    with logs[0].open("w") as one, logs[1].open("w") as other:
        runs = [machine.start(command, one), machine.start(command, other)]
        ended = {run.wait(300): (log.read_text(), run.pid) for run, log in zip(runs, logs)}
    assert sorted(ended) == [0, 2]
    holder = rf"{MAC} is held by root@\S+, process {ended[0][1]}, to reimage classroom/1, until [0-9:]+ UTC"
    assert re.search(holder, ended[2][0])
    assert states(machine) == STATES
    assert machine.logged() == ["automation writing", "automation written"]


def test_killed_run_is_taken_up_at_once_by_the_same_command_and_by_no_other(machine: Machine, tmp_path: Path) -> None:
    command = machine.command(test_writing=3)
    with (tmp_path / "killed").open("w") as log:
        killed = machine.start(command, log)
        wait_until(lambda: "automation writing" in machine.logged(), 120, "the first run to write")
        kill(killed)
    status, said = machine.run(machine.elsewhere(command))
    assert status == 2, said[-4000:]
    assert f"{MAC} is held by root@" in said
    assert states(machine) == STATES[:4]
    status, said = machine.run(command)
    assert status == 0, said[-4000:]
    assert "has ended without giving it back; going on in its place" in said
    # It was in automation already, so it was not armed again.
    assert states(machine) == [*STATES[:4], *STATES[2:]]
