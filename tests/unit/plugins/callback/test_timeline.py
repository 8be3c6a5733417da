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
