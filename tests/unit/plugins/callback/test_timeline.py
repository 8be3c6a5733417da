# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report at the end of a run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.reimage.lab.plugins.callback.timeline import CallbackModule


def test_machine_that_stopped_answering_has_failed_and_the_report_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = CallbackModule()
    monkeypatch.setattr(callback, "get_option", lambda _name: str(tmp_path))
    history = [{"state": state, "at": time.time(), "note": ""} for state in ("armed", "writing")]
    for name in ("pc-01", "pc-02"):
        callback._records[name] = {"name": name, "state": "writing", "image": "lab/1", "history": history}
    callback._records["pc-03"] = {
        **callback._records["pc-02"],
        "name": "pc-03",
        "state": "failed",
        "reason": "its disk is too small",
    }
    callback.v2_playbook_on_stats(SimpleNamespace(dark={"pc-01": 1, "pc-03": 1}))
    machines = json.loads((tmp_path / "report.json").read_text())["runs"][0]["machines"]
    assert [machine["state"] for machine in machines] == ["failed", "writing", "failed"]
    assert "stopped answering in state writing" in machines[0]["reason"]
    assert machines[2]["reason"] == "its disk is too small"
    assert "stopped answering" in (tmp_path / "report.html").read_text()


def test_machine_that_reports_nonsense_costs_the_report_of_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = CallbackModule()
    monkeypatch.setattr(callback, "get_option", lambda _name: str(tmp_path))
    history = [{"state": state, "at": time.time(), "note": ""} for state in ("armed", "done")]

    def told(machine: str, action: str, values: object) -> None:
        task, host = SimpleNamespace(action=f"reimage.lab.{action}"), SimpleNamespace(get_name=lambda: machine)
        callback.v2_runner_on_ok(SimpleNamespace(_task=task, _result=values, _host=host))

    for record in ([], None, "pc-03", {"history": "all"}, {"name": [], "history": [7]}):
        told("pc-03", "machine_state", {"machine": record})
    told("pc-03", "machine_state", {})
    for name, count in (("pc-01", "much\x1b[2J"), ("pc-02", 8 << 20)):
        told(name, "machine_state", {"machine": {"name": name, "state": "done", "image": "lab/1", "history": history}})
        told(name, "image_deploy", {"bytes_written": count, "seconds": 1.0})
    callback.v2_playbook_on_stats(SimpleNamespace(dark={}))
    machines = {machine["name"]: machine for machine in json.loads((tmp_path / "report.json").read_text())["runs"][0]["machines"]}
    assert machines["pc-02"]["work"] == {"bytes_written": 8 << 20, "seconds": 1.0}
    assert machines["pc-01"]["work"] == {"seconds": 1.0}
    assert "8 MiB at 8 MiB/s" in (tmp_path / "report.html").read_text()
