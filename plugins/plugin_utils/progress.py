# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a long module as an asynchronous job, and shows how far it is.

The job writes its progress to a file on the machine, which is read with C(cat): starting Python there for every look costs
more than the look, on the machines that are slow. Beside it stands a note of the job itself, so that a run that is started again
goes on watching what an earlier one began. All of it is what the machine says, so that it is read as a check-in is.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import time
from contextlib import contextmanager
from typing import Any, Iterator

from ansible.errors import AnsibleConnectionFailure
from ansible.utils.display import Display
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import read_progress
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import UntrustedError, read_object
from ansible_collections.reimage.lab.plugins.plugin_utils.machine import MachineAction, TooLongError, at_most
from ansible_collections.reimage.lab.plugins.plugin_utils.results import Fields, documented

INTERVAL = 2.0
SILENCE = 90.0  # seconds: a switch may start anew
PATIENCE = 300  # seconds in which a command that only looks, or only starts the work, must have ended
GONE = "gone"
STATUS = "ansible.legacy.async_status"
MIB = 1 << 20
JOB: Fields = {
    "ansible_job_id": {"type": "str"},
    "results_file": {"type": "str"},
    "started": {"type": "raw"},
    "finished": {"type": "raw"},
}
_JOB_ID = re.compile(r"j\d{1,20}\.\d{1,20}")
display = Display()


class ProgressAction(MachineAction):
    """What the action plugins of capturing and deploying do."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module of the same name as this plugin."""
        arguments = dict(self._task.args)
        if self._task.check_mode:
            return self._module(self._task.action, arguments, task_vars)
        timeout = int(arguments.get("timeout", 14400))
        machine = str(task_vars.get("inventory_hostname", "machine"))
        progress = str(arguments.get("progress_file", "/run/reimage/progress.json"))
        # Before Ansible adds to the arguments. Only a digest of them, for there are secrets among them.
        wanted = hashlib.sha256(json.dumps([self._task.action, arguments], sort_keys=True, default=str).encode()).hexdigest()
        note = posixpath.join(posixpath.dirname(progress), "job.json")
        job = self._earlier_job(note, machine)
        if job and job["task"] != wanted:
            return {"failed": True, "msg": "an earlier run is still at work on it, with other options: wait for it"}
        result = self._watch(job, progress, machine, timeout, task_vars, known=True) if job else {}
        if not result:  # nothing is at work, or whoever began it was still there and took the result: see what there is to do
            job = self._start(arguments, timeout, task_vars)
            if job.get("failed"):
                return job
            self._write(note, {**job, "task": wanted})
            result = self._watch(job, progress, machine, timeout, task_vars)
        self._shell(f"rm -f {self._quote(note)} {self._quote(job['results_file'])}")
        return result

    def returned(self, module: str, *, wrap_async: bool) -> Fields:
        """Return what is believed of the start of the job, and what of its end."""
        if wrap_async:
            return {**JOB, "failed": {"type": "bool"}, "msg": {"type": "message"}}
        return {**documented(self._task.action), **JOB} if module == STATUS else documented(module)

    def _start(self, arguments: dict[str, Any], timeout: int, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Start the job, which ends itself after its time, even if nobody looks any more."""
        self._task.async_val = timeout
        try:
            with answering():
                started: dict[str, Any] = self._execute_module(
                    module_name=self._task.action, module_args=arguments, task_vars=task_vars, wrap_async=True
                )
        finally:
            self._task.async_val = 0
        return started if started.get("failed") or _is_job(started) else {"failed": True, "msg": "it did not start the work"}

    def _earlier_job(self, note: str, machine: str) -> dict[str, Any]:
        """Return the job that an earlier run started, if it is still at work."""
        try:
            job = read_object(self._shell(f"cat {self._quote(note)} 2>/dev/null"))
        except UntrustedError:
            return {}
        if not (_is_job(job) and isinstance(job.get("task"), str)):
            return {}
        mark = job["ansible_job_id"].partition(".")[0]
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
        with answering():
            return str(self._low_level_execute_command(command).get("stdout", ""))

    def _quote(self, text: str) -> str:
        quoted: str = self._connection._shell.quote(text)
        return quoted

    def _status(self, job: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        folder = self.get_shell_option("async_dir", default="~/.ansible_async")
        arguments = {"jid": job["ansible_job_id"], "mode": "status", "_async_dir": folder}
        with answering():
            return self._module(STATUS, arguments, task_vars)

    def _module(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_name=name, module_args=arguments, task_vars=task_vars)
        return result


@contextmanager
def answering() -> Iterator[None]:
    """Take a machine that holds on to a command for a silent one."""
    try:
        with at_most(PATIENCE):
            yield
    except TooLongError:
        raise AnsibleConnectionFailure(f"it took a command and did not answer within {PATIENCE} s") from None


def _is_job(job: dict[str, Any]) -> bool:
    """Whether this is a job of Ansible's, with the names that Ansible gives."""
    name, file = job.get("ansible_job_id"), job.get("results_file")
    return isinstance(name, str) and bool(_JOB_ID.fullmatch(name)) and isinstance(file, str) and len(file) < 4096


def finished(state: str) -> bool:
    """Whether the file of an asynchronous job says that it is over."""
    try:
        job = json.loads(state)
    except (ValueError, RecursionError):
        return False  # it is being written
    return isinstance(job, dict) and bool(job.get("finished") or "started" not in job)


def show(machine: str, text: str, shown: tuple[str, int]) -> tuple[str, int]:
    """Display a step, which is a tenth of a stage, unless it was shown already.

    :param text: The content of the progress file.
    :param shown: The stage and the tenth that were shown last.
    :returns: The stage and the tenth that are shown now.
    """
    try:
        now = read_progress(text)
    except UntrustedError:
        return shown
    step = (now.stage, now.done * 10 // now.total if now.total else 0)
    if step != shown and now.total:
        part = now.done * 100 // now.total
        display.display(f"{machine}: {now.stage} {part:3} %  {now.rate / MIB:.0f} MiB/s  {now.eta:.0f} s left")
    return step
