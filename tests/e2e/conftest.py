# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The virtual lab, run once by the demo itself and left running for the tests to look at and to run again in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAY_TIMEOUT = 600
DEMO_TIMEOUT = 2400

Play = Callable[..., "subprocess.CompletedProcess[str]"]


def _run(arguments: list[str], timeout: float, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", **environment},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def demo() -> Iterator[str]:
    """What `make demo` printed. The lab stays up until the session ends."""
    lab = ["ansible-playbook", "-i", "inventories/virtual-lab", "reimage.lab.virtual_lab", "-e"]
    try:
        result = _run(["scripts/demo"], DEMO_TIMEOUT, KEEP_LAB="1")
        (ROOT / "var/demo.log").write_text(result.stdout)
        assert result.returncode == 0, result.stdout[-6000:]
        yield result.stdout
    finally:
        _run([*lab, "virtual_lab_state=absent"], PLAY_TIMEOUT)
        _assert_nothing_is_left()


def _assert_nothing_is_left() -> None:
    """No namespace, no machine and no PC of the lab, also after a failure."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    programs = ("qemu-system", "systemd-nspawn", "slirp4netns", "dnsmasq", "isc-dhcp")
    left = [line for line in listed if str(ROOT / "var/lab") in line and any(name in line for name in programs)]
    found = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout.splitlines()
    namespaces = [line for line in found if line.startswith("reimage")]
    assert (left, namespaces) == ([], [])


@pytest.fixture
def play(demo: str) -> Play:
    """Run a playbook in the lab that the demo left running, and return its end."""

    def run(playbook: str, *variables: str, **environment: str) -> subprocess.CompletedProcess[str]:
        extra = [word for variable in variables for word in ("-e", variable)]
        arguments = ["ansible-playbook", "-i", "inventories/virtual-lab", playbook, *extra]
        return _run(arguments, PLAY_TIMEOUT, **environment)

    return run
