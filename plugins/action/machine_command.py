# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a command on a machine, and returns its answer as text and numbers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import (
    LARGEST_NUMBER,
    UntrustedError,
    read_text,
    read_whole,
)
from ansible_collections.reimage.lab.plugins.plugin_utils.machine import MachineAction, TooLongError, at_most
from ansible_collections.reimage.lab.plugins.plugin_utils.results import message

INTERVAL = 3.0


class ActionModule(MachineAction):
    TRANSFERS_FILES = False

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        _validated, options = self.validate_argument_spec(
            argument_spec={
                "cmd": {"type": "str", "required": True},
                "stdin": {"type": "str", "no_log": True},
                "stdin_file": {"type": "path"},
                "timeout": {"type": "int", "default": 120},
                "wait": {"type": "int", "default": 0},
            },
            mutually_exclusive=[("stdin", "stdin_file")],
        )
        if self._task.check_mode:
            return {"changed": False, "skipped": True}
        try:
            said = self._run(options, self._given(options))
        except TooLongError:
            return {"failed": True, "msg": f"it did not end within {options['timeout']} s: {options['cmd']}"}
        except AnsibleConnectionFailure as error:
            within = f" within {options['wait']} s" if options["wait"] else ""
            return {"failed": True, "msg": f"it does not answer{within}: {message(error.message)}"}
        try:
            return _believed(said)
        except UntrustedError as error:
            return {"failed": True, "msg": f"its answer makes no sense: {error}"}

    def _given(self, options: dict[str, Any]) -> bytes | None:
        """Return what the command reads."""
        if options["stdin"] is not None:
            return str(options["stdin"]).encode()
        if options["stdin_file"] is None:
            return None
        return Path(self._loader.get_real_file(self._find_needle("files", options["stdin_file"]))).read_bytes()

    def _run(self, options: dict[str, Any], given: bytes | None) -> dict[str, Any]:
        """Return what the command said, once the machine answers."""
        if self._connection.has_option("use_tty"):
            self._connection.set_option("use_tty", False)  # it would mix what is printed with errors
        deadline = time.monotonic() + options["wait"]
        while True:
            if options["wait"]:
                self._connection.reset()  # a machine that has restarted is not who it was
            try:
                with at_most(options["timeout"]):
                    answer: dict[str, Any] = self._low_level_execute_command(options["cmd"], in_data=given, executable=False)
                return answer
            except AnsibleConnectionFailure:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(INTERVAL)


def _believed(said: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as the module documents it."""
    rc = read_whole(said["rc"], least=-LARGEST_NUMBER)
    stdout, stderr = (read_text(said[name], lines=True) for name in ("stdout", "stderr"))
    answer = {"changed": True, "rc": rc, "stdout": stdout, "stderr": stderr}
    if rc:
        answer.update(failed=True, msg=message(stderr or stdout) or f"it ended with {rc}")
    return answer
