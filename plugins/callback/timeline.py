# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: timeline
type: aggregate
short_description: A table and a report of what took how long on which machine
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
description:
  - Collects the states that M(reimage.lab.machine_state) recorded during a run, and what capturing and deploying did.
  - At the end it prints a table, and writes C(report.json) and a self-contained C(report.html) with a timeline and, in the
    virtual lab, screenshots. A run that met no machine writes nothing.
requirements:
  - Enable it in the configuration, C(callbacks_enabled=reimage.lab.timeline).
options:
  report_directory:
    description: Folder for the report, relative to the current one.
    type: str
    default: var/report
    env:
      - name: REIMAGE_REPORT_DIRECTORY
    ini:
      - section: callback_timeline
        key: report_directory
  screens_directory:
    description: Folder with screenshots, C(MACHINE/SECONDS.png), relative to the current one.
    type: str
    default: var/lab/screens
    env:
      - name: REIMAGE_SCREENS_DIRECTORY
    ini:
      - section: callback_timeline
        key: screens_directory
"""

import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible_collections.reimage.lab.plugins.module_utils.fleet.page import Screens, render
from ansible_collections.reimage.lab.plugins.module_utils.fleet.run import Run, machine_from, save, table

STATE = "reimage.lab.machine_state"
WORK = ("reimage.lab.image_deploy", "reimage.lab.image_capture")


class CallbackModule(CallbackBase):
    """Collects during the run, reports at its end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "reimage.lab.timeline"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._started = time.time()
        self._playbook = ""
        self._records: dict[str, dict[str, Any]] = {}
        self._work: dict[str, dict[str, Any]] = {}

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Remember what is run."""
        self._playbook = Path(str(playbook._file_name)).stem

    def v2_runner_on_ok(self, result: Any) -> None:
        """Collect what a task says of a machine."""
        action, values = result._task.action, result._result
        if action == STATE:
            record = values.get("machine")
            if isinstance(record, dict) and record.get("history"):
                self._records[str(record.get("name"))] = record
        elif action in WORK:
            self._work[result._host.get_name()] = values

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Report."""
        if not self._records:
            return
        for name in stats.dark.keys() & self._records.keys():
            # Nobody could record that: Ansible does nothing more with a machine that does not answer.
            record = self._records[name]
            if record.get("state") == "failed":
                continue
            reason = f"it stopped answering in state {record.get('state')}; run the same command again when it is back"
            self._records[name] = {**record, "state": "failed", "reason": reason}
        machines = [
            machine_from(record, self._started, self._work.get(name, {})) for name, record in sorted(self._records.items())
        ]
        run = Run(self._playbook, self._started, machines)
        self._display.banner("TIMELINE")
        for line in table(run):
            self._display.display(line)
        folder = Path(self.get_option("report_directory"))
        try:
            page = render(save(folder, run), Screens(Path(self.get_option("screens_directory"))))
            (folder / "report.html").write_text(page, encoding="utf-8")
        except OSError as error:
            self._display.warning(f"the report could not be written to {folder}: {error}")
