# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a long module as an asynchronous job, and shows how far it is.

The job writes its progress to a file on the machine, which is read with C(cat): starting Python there for every look costs
more than the look, on the machines that are slow. Beside it stands a note of the job itself, so that a run that is started again
goes on watching what an earlier one began.
"""

from __future__ import annotations

import json
import posixpath
import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

INTERVAL = 2.0
SILENCE = 90.0  # seconds: a switch may start anew
GONE = "gone"
MIB = 1 << 20
display = Display()


class ProgressAction(ActionBase):
    """What the action plugins of capturing and deploying do."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module of the same name as this plugin."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._task.check_mode:
            return self._module(self._task.action, arguments, task_vars)
        timeout = int(arguments.get("timeout", 14400))
        machine = str(task_vars.get("inventory_hostname", "machine"))
        progress = str(arguments.get("progress_file", "/run/reimage/progress.json"))
        wanted = json.dumps([self._task.action, arguments], sort_keys=True, default=str)  # before Ansible adds to the arguments
        note = posixpath.join(posixpath.dirname(progress), "job.json")
        try:
            job = self._earlier_job(note, machine)
            if job and job["task"] != wanted:
                return {"failed": True, "msg": "an earlier run is still at work on it, with other options: wait for it"}
            result = self._watch(job, progress, machine, timeout, task_vars, known=True) if job else {}
            if not result:  # nothing is at work, or whoever began it was still there and took the result: see what there is to do
                job = self._start(arguments, timeout, task_vars)
                if job.get("failed") or "ansible_job_id" not in job:
                    return job
                self._write(note, {**job, "task": wanted})
                result = self._watch(job, progress, machine, timeout, task_vars)
            self._shell(f"rm -f {self._quote(note)} {self._quote(job['results_file'])}")
            return result
        except AnsibleConnectionFailure as error:
            # A failure, for Ansible runs no rescue for an unreachable machine.
            return {"failed": True, "msg": f"it stopped answering: {error.message}"}

    def _start(self, arguments: dict[str, Any], timeout: int, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Start the job, which ends itself after its time, even if nobody looks any more."""
        self._task.async_val = timeout
        try:
            started: dict[str, Any] = self._execute_module(
                module_name=self._task.action, module_args=arguments, task_vars=task_vars, wrap_async=True
            )
        finally:
            self._task.async_val = 0
        return started

    def _earlier_job(self, note: str, machine: str) -> dict[str, Any]:
        """Return the job that an earlier run started, if it is still at work."""
        try:
            job: dict[str, Any] = json.loads(self._shell(f"cat {self._quote(note)} 2>/dev/null"))
            mark = str(job["ansible_job_id"]).partition(".")[0]
        except (ValueError, KeyError, TypeError):
            return {}
        # In brackets, so that the program that looks does not find itself.
        if not self._shell(f"grep -lsa '[{mark[:1]}]{mark[1:]}' /proc/[0-9]*/cmdline").strip():
            return {}
        display.display(f"{machine}: an earlier run is still at work on it; watching that")
        return job

    def _watch(
        self,
        job: dict[str, Any],
        progress_file: str,
        machine: str,
        timeout: int,
        task_vars: dict[str, Any],
        *,
        known: bool = False,
    ) -> dict[str, Any]:
        """Show how far a job is, and return its result, or nothing if a I(known) job's result is gone."""
        look = f"cat {self._quote(progress_file)} 2>/dev/null; echo; cat {self._quote(job['results_file'])} || echo {GONE}"
        heard = time.monotonic()
        deadline = heard + timeout + 60
        shown = ("", -1)
        while time.monotonic() < deadline:
            try:
                progress, _newline, state = self._shell(look).partition("\n")
                heard = time.monotonic()
            except AnsibleConnectionFailure:
                if time.monotonic() - heard > SILENCE:
                    raise
                state = progress = ""
            if known and state.strip() == GONE:
                return {}
            if finished(state):
                result = self._status(job, task_vars)
                return {
                    key: value
                    for key, value in result.items()
                    if key not in ("ansible_job_id", "results_file", "started", "finished")
                }
            shown = show(machine, progress, shown)
            time.sleep(INTERVAL)
        return {
            "failed": True,
            "msg": f"{self._task.action} did not end within {timeout} s; last seen: {shown[0] or 'nothing'}",
        }

    def _write(self, file: str, value: dict[str, Any]) -> None:
        """Have a file hold a value, if its folder exists, as in automation."""
        target = self._quote(file)
        self._shell(f"test -d {self._quote(posixpath.dirname(file))} && echo {self._quote(json.dumps(value))} >{target}")

    def _shell(self, command: str) -> str:
        return str(self._low_level_execute_command(command).get("stdout", ""))

    def _quote(self, text: str) -> str:
        quoted: str = self._connection._shell.quote(text)
        return quoted

    def _status(self, job: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        folder = self.get_shell_option("async_dir", default="~/.ansible_async")
        arguments = {"jid": job["ansible_job_id"], "mode": "status", "_async_dir": folder}
        return self._module("ansible.legacy.async_status", arguments, task_vars)

    def _module(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_name=name, module_args=arguments, task_vars=task_vars)
        return result


def finished(state: str) -> bool:
    """Whether the file of an asynchronous job says that it is over."""
    try:
        job = json.loads(state)
    except ValueError:
        return False  # it is being written
    return bool(job.get("finished") or "started" not in job)


def show(machine: str, text: str, shown: tuple[str, int]) -> tuple[str, int]:
    """Display a step, which is a tenth of a stage, unless it was shown already.

    :param text: The content of the progress file.
    :param shown: The stage and the tenth that were shown last.
    :returns: The stage and the tenth that are shown now.
    """
    try:
        progress = json.loads(text)
        stage, done, total = str(progress["stage"]), int(progress["done"]), int(progress["total"])
        rate, eta = float(progress["rate"]), float(progress["eta"])
    except (ValueError, KeyError, TypeError):
        return shown
    step = (stage, done * 10 // total if total else 0)
    if step != shown and total:
        display.display(f"{machine}: {stage} {done * 100 // total:3} %  {rate / MIB:.0f} MiB/s  {eta:.0f} s left")
    return step
