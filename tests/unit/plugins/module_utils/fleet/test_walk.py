# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The walks as data: walk.yml agrees with the states that can follow each other, with the files, and with the documents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.reimage.lab.plugins.module_utils.fleet.errors import FleetError
from ansible_collections.reimage.lab.plugins.module_utils.fleet.page import COLOURS
from ansible_collections.reimage.lab.plugins.module_utils.fleet.states import COMES_FROM, STATES
from ansible_collections.reimage.lab.plugins.module_utils.fleet.walk import batches, hook_files, hook_mistakes, steps
from ansible_collections.reimage.lab.plugins.modules import machine_state

ROLE = Path(__file__).parents[5] / "roles/reimage"
WALKS: dict[str, list[dict[str, Any]]] = yaml.safe_load((ROLE / "vars/walk.yml").read_text())["reimage_walks"]
HOOKS = {"before": {"writing": ["/a.yml", "/b.yml"]}, "after": {"writing": ["/c.yml"], "booted": ["/d.yml"]}}


def brief(taken: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the state that each step records, and the last part of what it does."""
    return [(step.get("state", ""), Path(step.get("do", "")).name) for step in taken]


@pytest.mark.parametrize("name", WALKS)
def test_each_state_of_a_walk_may_follow_the_one_before(name: str) -> None:
    states = [step["state"] for step in WALKS[name] if "state" in step]
    assert COMES_FROM[states[0]] is None
    for before, after in zip(states, states[1:]):
        assert COMES_FROM[after] is None or before in COMES_FROM[after], after
    assert states[-1] == "done"


@pytest.mark.parametrize("name", WALKS)
@pytest.mark.parametrize("system", ["linux", "windows"])
def test_what_a_step_does_is_there_for_each_system_and_its_bounds_are_options(name: str, system: str) -> None:
    options = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    for step in steps(WALKS[name], system=system):
        assert (ROLE / "tasks" / step["do"]).is_file(), step
        assert set(step["within"]) <= options.keys()


def test_both_systems_have_what_the_tasks_ask_of_a_system() -> None:
    asked = set()
    for path in ROLE.glob("tasks/**/*.yml"):
        asked |= set(re.findall(r"systems/\{\{ reimage_identity \}\}/(\w+\.yml)", path.read_text()))
    assert asked
    for system in ("linux", "windows"):
        assert asked <= {path.name for path in (ROLE / "tasks/systems" / system).iterdir()}


def test_consecutive_steps_in_one_place_are_a_batch() -> None:
    taken = steps(WALKS["reimage"], system="linux")
    found = [(batch[0]["in"], [step["state"] for step in batch]) for batch in batches(taken)]
    assert found == [
        ("controller", ["armed", "booted"]),
        ("automation", ["preflight", "writing", "verified"]),
        ("controller", ["identified"]),
        ("automation", ["released"]),
        ("production", ["first_boot", "reachable"]),
    ]
    assert [step["batch"] for step in taken] == [0, 0, 1, 1, 1, 2, 3, 4, 4]


def test_step_without_hooks_is_one_and_hooks_stand_between_its_state_and_its_work() -> None:
    taken = steps(WALKS["reimage"], system="linux", hooks=HOOKS, until="writing")
    assert brief(taken) == [
        ("armed", "armed.yml"),
        ("booted", "booted.yml"),
        ("", "d.yml"),
        ("preflight", "preflight.yml"),
        ("writing", ""),
        ("", "a.yml"),
        ("", "b.yml"),
        ("", "writing.yml"),
        ("", "c.yml"),
    ]
    assert {step["in"] for step in taken[4:]} == {"automation"}
    assert [step.get("hook") for step in taken] == [None, None, "booted", None, None, "writing", "writing", None, "writing"]


def test_attached_run_neither_arms_the_machine_nor_says_that_it_has_booted() -> None:
    taken = steps(WALKS["reimage"], system="windows", attached=True, until="preflight")
    assert brief(taken) == [("", "booted.yml"), ("preflight", "preflight.yml")]


def test_walk_may_end_early() -> None:
    assert brief(steps(WALKS["reimage"], system="linux", until="released"))[-1] == ("released", "released.yml")


def test_place_that_is_none_is_refused() -> None:
    with pytest.raises(FleetError, match="step armed: 'moon' is no place: controller, automation, production"):
        steps([{"state": "armed", "in": "moon", "do": "x.yml"}], system="linux")


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ({"during": {}}, "'during' is not a mapping called before or after"),
        ({"before": ["/a.yml"]}, "'before' is not a mapping"),
        ({"before": {"wirting": ["/a.yml"]}}, "before: there is no step 'wirting': there are armed, booted, "),
        ({"before": {"done": ["/a.yml"]}}, "there is no step 'done'"),
        ({"after": {"writing": "/a.yml"}}, "after: writing: a list of files is wanted"),
        ({"after": {"writing": ["a.yml"]}}, "after: writing: a.yml: the full path is wanted"),
        (["/a.yml"], "a mapping with before and after is wanted"),
    ],
)
def test_mistake_in_the_hooks_is_named(hooks: Any, said: str) -> None:
    (mistake,) = hook_mistakes(WALKS, hooks)
    assert mistake.startswith("reimage_hooks: ")
    assert said in mistake


def test_hooks_without_a_mistake() -> None:
    assert list(hook_mistakes(WALKS, HOOKS)) == []
    assert hook_files(HOOKS) == ["/a.yml", "/b.yml", "/c.yml", "/d.yml"]


def test_every_state_has_its_place_in_the_report_and_in_the_documentation_of_the_module() -> None:
    assert set(COLOURS) == set(STATES) - {"registered"}
    assert yaml.safe_load(machine_state.DOCUMENTATION)["options"]["state"]["choices"] == list(STATES)
    walked = {step["state"] for walk in WALKS.values() for step in walk if "state" in step}
    assert walked == set(STATES) - {"registered", "failed"}


def test_readme_draws_the_walks_as_they_are() -> None:
    text = (ROLE / "README.md").read_text()
    for name, walk in WALKS.items():
        states = [step["state"] for step in walk if "state" in step]
        assert f"{name}: {' → '.join(states)}\n" in text
        table = text.partition(f"| **{name}** |")[2].partition("| **")[0].partition("\n\n")[0]
        rows = re.findall(r"^\| `(\w+)` \| (\w*) ?\|", table, re.MULTILINE)
        assert rows == [(step["state"], step.get("in", "")) for step in walk if "state" in step]
