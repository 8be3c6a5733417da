# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Leases: who gets a machine, who is refused, and when that changes; and that of many processes at once one gets it."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import Outcome, save_outcome
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import new_arming, open_inbox, save_arming
from ansible_collections.reimage.lab.plugins.module_utils.fleet import lease
from ansible_collections.reimage.lab.plugins.module_utils.fleet.errors import FleetError
from ansible_collections.reimage.lab.plugins.module_utils.fleet.lease import (
    Claim,
    HeldError,
    give_back,
    held,
    load_lease,
    locked,
    refuse_if_held,
    take,
)

MAC = "52:54:00:77:01:01"
MINE = Claim("here/1", "me@here", "reimage a/1", 100)
OTHER = Claim("there/2", "you@there", "reimage a/1", 100)


@pytest.fixture(autouse=True)
def folder(layout: Layout) -> None:
    layout.lease(MAC).parent.mkdir()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease.time, "time", clock)
    return clock


def works_at(layout: Layout, monkeypatch: pytest.MonkeyPatch, at: float) -> None:
    """Have the machine report progress at a time of the server's clock, whatever time it gives the file."""
    arming = new_arming(MAC, "automation")
    save_arming(layout, arming)
    open_inbox(layout, arming.token)
    save_outcome(layout, MAC, Outcome(arming.armed_at, {"address": "10.77.1.101"}))
    path = layout.progress(arming.token, "10.77.1.101")
    path.write_text("{}")
    os.utime(path, (2_000_000_000, 2_000_000_000))
    status = list(path.lstat())
    monkeypatch.setattr(Path, "lstat", lambda self: os.stat_result([*status[:9], at]))


def test_run_keeps_its_lease_by_taking_it_again_and_others_are_told_whose_it_is(layout: Layout, clock: Clock) -> None:
    assert held(layout, MAC) is None
    first = take(layout, MAC, MINE)
    assert held(layout, MAC) == first
    clock.now += 99
    again = take(layout, MAC, replace(MINE, seconds=50))
    assert again.expires_at == clock.now + 50
    with pytest.raises(
        HeldError, match=rf"{MAC} is held by me@here to reimage a/1, until 13:49:09 UTC by .*: let that run end"
    ) as caught:
        take(layout, MAC, OTHER)
    assert caught.value.lease == load_lease(layout, MAC) == again


def test_lease_that_is_over_or_given_back_goes_to_anybody(layout: Layout, clock: Clock) -> None:
    take(layout, MAC, MINE)
    clock.now += 100
    assert held(layout, MAC) is None
    assert take(layout, MAC, OTHER).run == "there/2"
    give_back(layout, MAC)
    assert take(layout, MAC, MINE).run == "here/1"


def test_progress_of_the_machine_keeps_it_from_others_after_the_lease(
    layout: Layout, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(layout, MAC, MINE)
    clock.now += 150
    works_at(layout, monkeypatch, clock.now - 10)
    with pytest.raises(HeldError, match="held by me@here"):
        take(layout, MAC, OTHER)
    clock.now += 90
    assert take(layout, MAC, OTHER).run == "there/2"


def test_run_that_has_ended_is_succeeded_at_once_by_one_with_the_same_purpose_while_its_work_goes_on(
    layout: Layout, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(layout, MAC, MINE)
    works_at(layout, monkeypatch, clock.now - 10)
    knows = replace(OTHER, ended=MINE.run)
    with pytest.raises(HeldError, match="that run has ended, but the machine itself reported progress 10 s ago"):
        take(layout, MAC, replace(knows, purpose="reimage b/2"))
    assert take(layout, MAC, knows).run == "there/2"


def test_run_that_has_ended_with_no_work_on_the_machine_is_succeeded_at_once_by_any(layout: Layout, clock: Clock) -> None:
    take(layout, MAC, MINE)
    assert take(layout, MAC, replace(OTHER, purpose="capture b", ended=MINE.run)).run == "there/2"


def test_another_run_that_has_ended_is_no_reason(layout: Layout, clock: Clock) -> None:
    take(layout, MAC, MINE)
    with pytest.raises(HeldError):
        take(layout, MAC, replace(OTHER, ended="here/7"))


def test_state_without_a_lease_is_recorded_only_while_nobody_has_the_machine(layout: Layout, clock: Clock) -> None:
    refuse_if_held(layout, MAC)
    take(layout, MAC, MINE)
    with pytest.raises(HeldError):
        refuse_if_held(layout, MAC)


def test_dry_run_takes_nothing_and_is_refused_as_well(layout: Layout, clock: Clock) -> None:
    take(layout, MAC, MINE, dry_run=True)
    assert load_lease(layout, MAC) is None
    take(layout, MAC, MINE)
    with pytest.raises(HeldError):
        take(layout, MAC, OTHER, dry_run=True)


def test_lease_needs_a_run_and_lasts_a_day_at_most(layout: Layout, clock: Clock) -> None:
    with pytest.raises(FleetError, match="needs the id of the run"):
        take(layout, MAC, replace(MINE, run=""))
    assert take(layout, MAC, replace(MINE, seconds=1e12)).expires_at == clock.now + 86400


def test_damaged_lease_is_named(layout: Layout) -> None:
    layout.lease(MAC).write_text('{"run": "x"}')
    with pytest.raises(FleetError, match=r"52-54-00-77-01-01\.json: is damaged: see that nobody works on the machine"):
        take(layout, MAC, MINE)


def _try(layout: Layout, run: str, won: multiprocessing.Queue[str], start: multiprocessing.synchronize.Event) -> None:
    start.wait(30)
    with locked(layout, MAC):
        try:
            take(layout, MAC, Claim(run))
            won.put(run)
        except HeldError:
            won.put("")


def test_of_many_processes_at_once_one_gets_it(layout: Layout) -> None:
    context = multiprocessing.get_context("fork")
    won, start = context.Queue(), context.Event()
    tries = [context.Process(target=_try, args=(layout, f"run/{number}", won, start)) for number in range(16)]
    for one in tries:
        one.start()
    start.set()
    winners = [run for run in (won.get(timeout=30) for _one in tries) if run]
    for one in tries:
        one.join(30)
    assert [load_lease(layout, MAC).run] == winners  # type: ignore[union-attr]


def test_progress_that_somebody_else_reports_keeps_the_machine_from_nobody(layout: Layout, clock: Clock) -> None:
    arming = new_arming(MAC, "automation")
    save_arming(layout, arming)
    open_inbox(layout, arming.token)
    save_outcome(layout, MAC, Outcome(arming.armed_at, {"address": "10.77.1.101"}))
    layout.progress(arming.token, "10.77.1.66").write_text("{}")
    take(layout, MAC, MINE)
    clock.now += 150
    assert take(layout, MAC, OTHER).run == "there/2"
