# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machine is played by the test; tests/integration/imaging/test_modules.py runs real jobs."""

from __future__ import annotations

import hashlib
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.reimage.lab.plugins.plugin_utils import progress

JOB = {"ansible_job_id": "j1.2", "results_file": "/root/.ansible_async/j1.2", "started": 1, "finished": 0}
PROGRESS = {"stage": "writing", "title": "lab/1", "done": 8 << 20, "total": 16 << 20, "rate": 1 << 20, "eta": 8.0}
RESULT = {"changed": True, "image": "lab/1", "finished": 1, "started": 1, "ansible_job_id": "j1.2"}


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the action on a machine that answers each look with the next of some answers, or not at all."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(progress.time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))

    def run(*answers: str | None, note: str = "") -> dict[str, Any]:
        left = list(answers)

        def shell(command: str) -> dict[str, str]:
            if command.startswith("cat /run/reimage/job.json"):
                return {"stdout": note}
            if command.startswith("grep"):
                return {"stdout": "/proc/7/cmdline"}
            if JOB["results_file"] not in command or "echo {" in command:
                return {"stdout": ""}
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer is None:
                raise AnsibleConnectionFailure("no route to host")
            return {"stdout": answer}

        task = SimpleNamespace(check_mode=False, async_val=0, args={"name": "lab"}, action="reimage.lab.image_deploy")
        quoting = SimpleNamespace(tmpdir="/tmp", quote=str)
        action = progress.ProgressAction(task, SimpleNamespace(_shell=quoting), None, None, None, None)
        monkeypatch.setattr(action, "_low_level_execute_command", shell)
        monkeypatch.setattr(action, "_execute_module", lambda wrap_async=False, **_more: dict(JOB if wrap_async else RESULT))
        monkeypatch.setattr(action, "get_shell_option", lambda *_names, **_more: "/root/.ansible_async")
        return action.run(task_vars={"inventory_hostname": "pc-01"})

    return run


def test_machine_that_stops_answering_has_failed_so_that_a_rescue_can_record_it(deploy: Any) -> None:
    result = deploy("\n" + json.dumps(JOB), None)
    assert result["failed"]
    assert result["msg"] == "it stopped answering: no route to host"


def test_job_whose_result_was_taken_by_another_run_is_done_again(deploy: Any) -> None:
    task = json.dumps(["reimage.lab.image_deploy", {"name": "lab"}])
    noted = json.dumps({**JOB, "task": hashlib.sha256(task.encode()).hexdigest()})
    result = deploy("\n" + json.dumps(JOB), "\n" + progress.GONE, "\n" + json.dumps(RESULT), note=noted)
    assert result == {"changed": True, "image": "lab/1"}


def test_machine_that_answers_again_in_time_goes_on(deploy: Any) -> None:
    silent = int(progress.SILENCE / progress.INTERVAL) - 2
    result = deploy("\n" + json.dumps(JOB), *[None] * silent, "\n" + json.dumps(RESULT))
    assert result == {"changed": True, "image": "lab/1"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[1]",
        "7",
        "null",
        '"writing"',
        "[" * 100_000,
        json.dumps({**PROGRESS, "stage": "\x1b[31mred"}),
        json.dumps({**PROGRESS, "stage": []}),
        json.dumps({**PROGRESS, "done": "half"}),
        json.dumps({**PROGRESS, "done": -1}),
        json.dumps({**PROGRESS, "done": float("inf")}),
        json.dumps({**PROGRESS, "total": float("nan")}),
        json.dumps({**PROGRESS, "total": True}),
        json.dumps({**PROGRESS, "rate": float("inf")}),
        json.dumps({**PROGRESS, "eta": "soon"}),
        json.dumps({"stage": "writing"}),
    ],
)
def test_progress_that_makes_no_sense_is_not_shown_and_stops_nothing(
    deploy: Any, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(progress.display, "display", shown.append)
    result = deploy(text + "\n" + json.dumps(JOB), json.dumps(PROGRESS) + "\n" + json.dumps(JOB), "\n" + json.dumps(RESULT))
    assert result == {"changed": True, "image": "lab/1"}
    assert shown == ["pc-01: writing  50 %  1 MiB/s  8 s left"]


@pytest.mark.parametrize("state", ["[]", "7", "null", '"finished"', "[" * 100_000])
def test_state_of_the_job_that_makes_no_sense_is_not_its_end(deploy: Any, state: str) -> None:
    assert deploy("\n" + state, "\n" + json.dumps(RESULT)) == {"changed": True, "image": "lab/1"}


@pytest.mark.parametrize(
    "note",
    [
        [],
        7,
        {**JOB, "ansible_job_id": ["j1.2"]},
        {**JOB, "ansible_job_id": "j1.2; reboot"},
        {**JOB, "results_file": None},
        {key: JOB[key] for key in JOB if key != "results_file"},
        JOB,
    ],
)
def test_note_of_an_earlier_job_that_makes_no_sense_is_none(deploy: Any, note: Any) -> None:
    wanted = json.dumps(["reimage.lab.image_deploy", {"name": "lab"}])
    noted = json.dumps({**note, "task": wanted} if isinstance(note, dict) and note is not JOB else note)
    assert deploy("\n" + json.dumps(RESULT), note=noted) == {"changed": True, "image": "lab/1"}


def test_machine_that_takes_a_command_and_never_answers_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.01)
    monkeypatch.setattr(progress.MachineAction, "_low_level_execute_command", lambda *_words: time.sleep(60), raising=False)
    action = progress.ProgressAction.__new__(progress.ProgressAction)
    with pytest.raises(AnsibleConnectionFailure, match="it took a command and did not answer"):
        action._shell("true")
