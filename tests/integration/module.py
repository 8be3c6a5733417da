# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules as Ansible runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run(module: str, check: bool = False, interpreter: str = "", **options: Any) -> dict[str, Any]:
    """Run a module and return its result, and what was shown meanwhile as C(said).

    :param interpreter: By default the Python of Ansible itself.
    """
    words = ["ansible", "localhost", "-m", f"reimage.lab.{module}", "-a", json.dumps(options), *(["--check"] if check else [])]
    words += ["-e", f"ansible_python_interpreter={interpreter}"] if interpreter else []
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert " => " in done.stdout, done.stderr
    said, _arrow, text = done.stdout.rpartition(" => ")
    result: dict[str, Any] = json.loads(text)
    return {**result, "said": said, "failed": done.returncode != 0}


def kill_controller(process: subprocess.Popen[Any]) -> None:
    """Kill Ansible, which was started in a session of its own, with its workers, which have made sessions of theirs."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False)
    for pid in (process.pid, *map(int, listed.stdout.split())):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
