# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which run of Ansible this is, and which has ended, by real processes of this computer."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until
from ansible_collections.reimage.lab.plugins.plugin_utils import this_run


def id_of(monkeypatch: pytest.MonkeyPatch, process: int) -> str:
    """Return the id of a run as its workers see it."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "getppid", lambda: process)
        return this_run.this_run()


def test_run_is_the_process_that_started_this_one() -> None:
    assert f"/{os.getppid()}/" in this_run.this_run()
    assert not this_run.has_ended(this_run.this_run())
    assert f"process {os.getppid()}," in this_run.who()


def test_run_has_ended_when_its_process_has_even_if_nobody_has_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = id_of(monkeypatch, process.pid)
    assert not this_run.has_ended(run)
    process.kill()
    wait_until(lambda: this_run.has_ended(run), 20, "the process to end")
    process.communicate()
    assert this_run.has_ended(run)


def test_process_with_a_number_that_is_used_again_is_another_run() -> None:
    host, main, _started = this_run.this_run().split("/")
    assert this_run.has_ended(f"{host}/{main}/{'0' * 36}-1")


@pytest.mark.parametrize("run", ["", "x", "elsewhere/1/2", "{host}", "{host}/x/1", "{host}/4194305/unknown"])
def test_of_a_run_elsewhere_or_of_nonsense_nothing_is_known(run: str) -> None:
    host = this_run.this_run().partition("/")[0]
    assert not this_run.has_ended(run.format(host=host))
