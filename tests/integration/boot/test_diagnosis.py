# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module that watches the network, as Ansible runs it on the boot server, with real clients on the wire."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import arm

from .boots import PROJECT, Network, mac, network

ARMED, PLAIN, OFF = 1, 2, 3


@pytest.fixture(scope="module")
def wire() -> Iterator[Network]:
    """Return a network in which nobody answers; one machine asks for a network boot, and another one only for an address."""
    with network() as made:
        arm(made.layout, mac(ARMED), "automation")
        for number, more in ((ARMED, ["-V", "PXEClient:Arch:00007:UNDI:003000", "-x", "0x5d:0007"]), (PLAIN, [])):
            card = f"card{number}"
            made.on_wire("ip", "link", "add", "link", "lan", "name", card, "address", mac(number), "type", "macvlan")
            made.on_wire("ip", "link", "set", card, "up")
            made.beside("busybox", "udhcpc", "-f", "-i", card, "-t", "100", "-T", "1", "-s", "/bin/true", *more)
        yield made


def watch(wire: Network, number: int) -> subprocess.Popen[str]:
    options = {"mac": mac(number), "name": f"pc-{number}", "watch": 5, "root": str(wire.layout.root)}
    words = ["ip", "netns", "exec", wire.server, "ansible", "localhost", "-m", "reimage.lab.diagnosis_info"]
    words += ["-a", json.dumps(options)]
    return subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    stdout, stderr = process.communicate(timeout=120)
    assert " => " in stdout, stderr
    value: dict[str, Any] = json.loads(stdout.partition(" => ")[2])
    return value


def test_machines_are_watched_at_the_same_time_and_nothing_is_left(wire: Network) -> None:
    before = set(wire.layout.root.rglob("*"))
    found = [result(process) for process in [watch(wire, number) for number in (ARMED, PLAIN, OFF)]]
    assert [one["stage"] for one in found] == ["unanswered", "no_network_boot", "silent"]
    assert found[0]["sentence"].startswith("pc-1: it is armed and asks for a network boot, and dnsmasq does not answer: ")
    assert not any(one["changed"] for one in found)
    assert set(wire.layout.root.rglob("*")) == before
    assert not list(Path(tempfile.gettempdir()).glob("reimage-diagnosis-*"))
    running = subprocess.run(["ip", "netns", "pids", wire.server], capture_output=True, text=True, check=True).stdout.split()
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in running}
    assert "tcpdump" not in names
