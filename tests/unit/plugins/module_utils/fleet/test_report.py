# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report: durations, the table, and a page that believes nothing that a machine says."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.fleet.page import Screens, render
from ansible_collections.reimage.lab.plugins.module_utils.fleet.run import Run, machine_from, save, table

RECORD = {
    "name": "pc-01",
    "state": "done",
    "image": "lab/1",
    "reason": "",
    "history": [{"state": "armed", "at": 100.0}, {"state": "writing", "at": 110.0}, {"state": "done", "at": 150.0}],
}


def a_run() -> Run:
    return Run("reimage_lab", 100.0, [machine_from(RECORD, 100.0, {"bytes_written": 80 << 20, "seconds": 40.0})])


def test_each_state_lasts_until_the_next() -> None:
    (machine,) = a_run().machines
    assert [(step.state, step.seconds) for step in machine.steps] == [("armed", 10.0), ("writing", 40.0), ("done", 0.0)]
    assert machine.seconds == 50.0


def test_table_has_a_line_a_machine_with_its_figures() -> None:
    head, line = table(a_run())
    assert head.split() == ["machine", "result", "image", "total", "armed", "writing", "written", "rate"]
    assert line.split() == ["pc-01", "done", "lab/1", "50", "s", "10", "s", "40", "s", "80", "MiB", "2", "MiB/s"]


def test_machine_that_a_current_shim_does_not_start_on_is_named(tmp_path: Path) -> None:
    secure_boot = {"enabled": True, "warnings": ["no current shim starts here <b>", 7]}
    run = Run("reimage_lab", 100.0, [machine_from({**RECORD, "secure_boot": secure_boot}, 100.0, {})])
    assert table(run)[2] == "pc-01: warning: no current shim starts here <b>"
    assert "no current shim starts here &lt;b&gt;" in render([asdict(run)], Screens(tmp_path))
    assert machine_from({**RECORD, "secure_boot": "none"}, 100.0, {}).warnings == []


def test_states_of_an_earlier_run_do_not_count() -> None:
    machine = machine_from(RECORD, 1000.0, {})
    assert machine.steps == []
    assert "nothing to do" in table(Run("again", 1000.0, [machine]))[1]


def test_runs_are_kept_with_the_latest_first(tmp_path: Path) -> None:
    save(tmp_path, a_run())
    save(tmp_path, Run("verify_lab", 200.0))
    runs = json.loads((tmp_path / "report.json").read_text())["runs"]
    assert [run["playbook"] for run in runs] == ["verify_lab", "reimage_lab"]


def test_page_shows_the_last_screenshot_of_a_state_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "pc-01"
    folder.mkdir()
    for at, text in ((111, b"early"), (149, b"late"), (400, b"after")):
        (folder / f"{at}.png").write_bytes(text)
    page = render([asdict(a_run())], Screens(tmp_path))
    assert "bGF0ZQ==" in page
    assert "ZWFybHk=" not in page
    assert Screens(tmp_path / "x").last_within("../pc-01", 0, 1000) == ""


def test_page_escapes_what_machines_say() -> None:
    record = {**RECORD, "state": "failed", "reason": "<script>alert(1)</script>", "name": '"><b>'}
    page = render([asdict(Run("<i>", 100.0, [machine_from(record, 100.0, {})]))], Screens(Path("/nonexistent")))
    assert "<script>" not in page
    assert "<i>" not in page.replace("<i style", "")
    assert '"><b>' not in page


HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J"


@pytest.mark.parametrize("name", ["bytes_written", "bytes_used", "seconds", "image"])
@pytest.mark.parametrize("value", [HOSTILE, [], {}, None, -1, float("inf"), float("nan"), 1 << 70, True])
def test_figure_that_makes_no_sense_costs_the_report_nothing_else(tmp_path: Path, name: str, value: Any) -> None:
    work = {"bytes_written": 80 << 20, "seconds": 40.0, name: value}
    run = Run("reimage_lab", 100.0, [machine_from(RECORD, 100.0, work), *a_run().machines])
    for text in ("\n".join(table(run)), render(save(tmp_path, run), Screens(tmp_path))):
        assert "80 MiB" in text
        assert "\x1b" not in text
    json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "history",
    [
        None,
        "text",
        7,
        [7],
        [{}],
        [{"state": [], "at": 1}],
        [{"state": "done", "at": "now"}],
        [{"state": "x", "at": float("inf")}],
    ],
)
def test_history_that_makes_no_sense_is_left_out(tmp_path: Path, history: Any) -> None:
    machine = machine_from({**RECORD, "history": history}, 100.0, {})
    assert (machine.name, machine.steps) == ("pc-01", [])
    assert render(save(tmp_path, Run("reimage_lab", 100.0, [machine])), Screens(tmp_path))


def test_report_of_an_earlier_version_does_not_cost_the_next(tmp_path: Path) -> None:
    save(tmp_path, a_run())
    report = tmp_path / "report.json"
    report.write_text(report.read_text().replace("83886080", '"much"'))
    assert "80 MiB" in render(save(tmp_path, a_run()), Screens(tmp_path))


def test_terminal_and_page_show_text_of_machines_as_text() -> None:
    record = {**RECORD, "state": HOSTILE, "reason": HOSTILE, "image": HOSTILE, "history": [{"state": HOSTILE, "at": 100.0}] * 3}
    run = Run("reimage_lab", 100.0, [machine_from(record, 100.0, {})])
    page = render([asdict(run)], Screens(Path("/nonexistent")))
    for line in [*table(run), *page.splitlines()]:
        assert line.isprintable()
        assert "\x9b" not in line


def test_later_state_that_began_earlier_lasts_no_time() -> None:
    history = [{"state": "armed", "at": 110.0}, {"state": "writing", "at": 105.0}]
    assert [step.seconds for step in machine_from({**RECORD, "history": history}, 100.0, {}).steps] == [0.0, 0.0]
