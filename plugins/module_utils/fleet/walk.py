# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The walk of a machine as data: which steps there are to take, where each is done, and with whose hooks."""

from __future__ import annotations

from itertools import groupby
from pathlib import PurePath
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.fleet.errors import FleetError

# As roles/reimage/vars/walk.yml describes it: C(state), C(in), C(do), C(within), C(attached).
Step = Mapping[str, Any]
Hooks = Mapping[str, Mapping[str, Sequence[str]]]
PLACES = ("controller", "automation", "production")
TIMES = ("before", "after")


def steps(
    walk: Sequence[Step], *, system: str, attached: bool = False, until: str = "", hooks: Hooks | None = None
) -> list[dict[str, Any]]:
    """Return the steps to take, with hooks among them as steps of their own, each with the number of its batch.

    A step with hooks before it becomes two: one that records its state, and, after the hooks, one that does its work. The end of
    the walk, which has nothing to do, is left out.

    :param system: What C(SYSTEM) stands for in the names of files.
    :param attached: An earlier run left the machine in automation.
    :param until: The state whose step is the last to take; empty for all.
    :param hooks: Files by C(before) or C(after), and state.
    """
    taken: list[dict[str, Any]] = []
    for step in walk:
        if "do" in step and not (attached and step.get("attached") == "left_out"):
            taken += _with_hooks(step, system, attached, hooks or {})
        if until and step.get("state") == until:
            break
    return [{**step, "batch": number} for number, batch in enumerate(batches(taken)) for step in batch]


def batches(taken: Sequence[Step]) -> list[list[Step]]:
    """Return the steps in batches: those that follow each other in one place can be done in one go."""
    return [list(batch) for _place, batch in groupby(taken, key=lambda step: step["in"])]


def hook_mistakes(walks: Mapping[str, Sequence[Step]], hooks: Hooks) -> Iterator[str]:
    """Yield what is wrong with the hooks that somebody declared, a sentence each; whether the files exist is not looked at."""
    known = {step["state"] for walk in walks.values() for step in walk if "do" in step and "state" in step}
    if not isinstance(hooks, Mapping):
        yield f"reimage_hooks: a mapping with {' and '.join(TIMES)} is wanted"
        return
    for time, by_state in hooks.items():
        if time not in TIMES or not isinstance(by_state, Mapping):
            yield f"reimage_hooks: {time!r} is not a mapping called {' or '.join(TIMES)}"
            continue
        for state, files in by_state.items():
            if state not in known:
                yield f"reimage_hooks: {time}: there is no step {state!r}: there are {', '.join(sorted(known))}"
            elif isinstance(files, str) or not isinstance(files, Sequence):
                yield f"reimage_hooks: {time}: {state}: a list of files is wanted"
            else:
                for file in files:
                    if not PurePath(str(file)).is_absolute():
                        yield f"reimage_hooks: {time}: {state}: {file}: the full path is wanted, such as one below playbook_dir"


def hook_files(hooks: Hooks) -> list[str]:
    """Return all files of hooks without a mistake."""
    return [file for by_state in hooks.values() for files in by_state.values() for file in files]


def _with_hooks(step: Step, system: str, attached: bool, hooks: Hooks) -> Iterator[dict[str, Any]]:
    """Yield a step to take, and the hooks before and after it."""
    place, state = step["in"], step.get("state", "")
    if place not in PLACES:
        raise FleetError(f"step {state or step['do']}: {place!r} is no place: {', '.join(PLACES)}")
    work = {"in": place, "do": step["do"].replace("SYSTEM", system), "within": list(step.get("within", []))}
    mark = {"state": state} if state and not (attached and step.get("attached") == "not_recorded") else {}
    before, after = ([{"in": place, "do": file, "hook": state} for file in hooks.get(time, {}).get(state, ())] for time in TIMES)
    if before:
        yield {"in": place, **mark}
        yield from before
        yield work
    else:
        yield {**work, **mark}
    yield from after
