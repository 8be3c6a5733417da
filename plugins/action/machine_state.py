# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fills in who it is that reimage.lab.machine_state takes a lease for, and takes over from a run that was killed."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.reimage.lab.plugins.plugin_utils.machine import MachineAction
from ansible_collections.reimage.lab.plugins.plugin_utils.this_run import has_ended, this_run, who

display = Display()


class ActionModule(MachineAction):
    """The action plugin of the module."""

    def work(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module of the same name as this plugin."""
        lease = self._task.args.get("lease")
        if not isinstance(lease, dict):
            return self._record(task_vars)
        mine = {"run": this_run(), "holder": who(), **lease}
        result = self._record(task_vars, lease=mine)
        other = result.get("held")
        if not isinstance(other, dict) or not has_ended(str(other.get("run"))):
            return result
        result = self._record(task_vars, lease={**mine, "ended": other["run"]})
        if not result.get("failed"):
            machine = task_vars.get("inventory_hostname", "machine")
            display.display(f"{machine}: {other.get('holder')} has ended without giving it back; going on in its place")
        return result

    def _record(self, task_vars: dict[str, Any], **more: Any) -> dict[str, Any]:
        arguments = {**self._task.args, **more}
        result: dict[str, Any] = self._execute_module(module_name=self._task.action, module_args=arguments, task_vars=task_vars)
        return result
