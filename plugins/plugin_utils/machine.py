# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work on a machine that is not trusted: its answers become no variable, no terminal sequence and no crash.

All modules of this collection run through this. C(meta/runtime.yml) names the action plugin of each.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import Any, Iterator

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import UntrustedError, printable
from ansible_collections.reimage.lab.plugins.plugin_utils.results import LARGEST_ANSWER, Fields, believed, documented, message

MOST_WARNINGS = 10
display = Display()


class TooLongError(BaseException):
    """Not an Exception, which the SSH connection would take for a reason to try again."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise C(TooLongError) in the block when its time is over: a machine may take a command and never answer."""

    def stop(*_signal: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class MachineAction(ActionBase):
    """Runs the module of the task's name; a subclass may do something else in C(work)."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the work. That a machine does not answer is a failure, because Ansible runs no rescue for an unreachable one."""
        super().run(tmp, task_vars)
        try:
            return self.work(task_vars or {})
        except AnsibleConnectionFailure as error:
            return {"failed": True, "msg": f"it stopped answering: {message(error.message)}"}

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the result of the task."""
        return self._execute_module(task_vars=task_vars)

    def returned(self, module: str, *, wrap_async: bool) -> Fields:
        """Return what is believed of a module's result; C(wrap_async) only starts it."""
        return documented(module)

    # Its other parameters differ between versions of ansible-core.
    def _execute_module(  # type: ignore[override]
        self, module_name: str | None = None, wrap_async: bool = False, **options: Any
    ) -> dict[str, Any]:
        name = module_name or self._task.action
        self._fields = self.returned(name, wrap_async=wrap_async)
        result = super()._execute_module(module_name=name, wrap_async=wrap_async, **options)
        try:
            known = believed(result, self._fields)
        except UntrustedError as error:
            return {"failed": True, "msg": f"its answer to {name} makes no sense: {error}"}
        if self._discovered_interpreter_key:  # the one fact that Ansible itself found, and would look for again each time
            known["ansible_facts"] = {self._discovered_interpreter_key: self._discovered_interpreter}
        return known

    def _parse_returned_data(self, res: dict[str, Any], *profile: Any) -> dict[str, Any]:
        """Read what a module printed. Ansible calls this, and would show on the terminal what else it finds there."""
        said = {**res, **{name: printable(str(res.get(name, "")), LARGEST_ANSWER, lines=True) for name in ("stdout", "stderr")}}
        try:
            data = super()._parse_returned_data(said, *profile)
        except Exception as error:  # Ansible's reader of results expects an honest module
            return {"failed": True, "msg": f"its answer cannot be read: {type(error).__name__}"}
        if not data.get("_ansible_parsed"):
            return {"failed": True, "msg": f"its answer is not that of a module: {said['stderr'] or said['stdout']}"}
        self._warn(data.pop("warnings", None))
        if data.get("failed"):
            data["msg"] = _reason(data)
        return {key: value for key, value in data.items() if key in self._fields or key == "_ansible_parsed"}

    def _warn(self, warnings: Any) -> None:
        for warning in warnings[:MOST_WARNINGS] if isinstance(warnings, list) and not self._task.no_log else ():
            display.warning(message(getattr(getattr(warning, "event", None), "msg", warning)))


def _reason(data: dict[str, Any]) -> str:
    """Return why a module failed. If it crashed, that is in C(exception), from the outermost error to its cause."""
    told = [str(data["msg"])] if data.get("msg") else []
    event = getattr(data.get("exception"), "event", None)
    while event is not None and len(told) < 5:
        told.append(str(event.msg))
        event = event.chain.event if event.chain else None
    return ": ".join(dict.fromkeys(told)) or "the module failed and did not say why"
