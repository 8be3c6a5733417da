# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody reads a machine's boot script and checks in before it does. The role, nginx and sshd are real.

Only systemd is not: a thread has the check-ins judged, as the path unit does.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import disarm
from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until

from ..hostile import HostileMachine
from .conftest import PROJECT, WebServer
from .test_checkins import HOSTILE, MAC, MACHINE, SCRIPT, check_in_with, judge, make_network

SECRET = "the-password-of-the-share"


@pytest.fixture
def network(web_server: WebServer) -> Iterator[WebServer]:
    """Return a boot server in a network with other machines, where check-ins are judged as they come."""
    make_network(web_server)
    ended = threading.Event()

    def judging() -> None:
        while not ended.wait(0.2):
            judge(web_server)

    thread = threading.Thread(target=judging)
    thread.start()
    yield web_server
    ended.set()
    thread.join()
    disarm(web_server.layout, MAC, lambda: None)


def start_run(tmp_path: Path, network: WebServer, hostile: HostileMachine) -> subprocess.Popen[str]:
    """Start a run that brings pc-01 to automation, and gives it a secret once the file C(go) is there."""
    steps = [
        {"state": "armed", "in": "controller", "do": "states/armed.yml"},
        {"in": "controller", "do": str(tmp_path / "wait.yml")},
        {"state": "booted", "in": "controller", "do": "states/booted.yml"},
        {"state": "preflight", "in": "automation", "do": str(tmp_path / "step.yml")},
        {"state": "done"},
    ]
    variables = {
        "reimage_server": "server",
        "reimage_root": str(network.folder),
        "reimage_macs": [MAC],
        "reimage_known_hosts": str(tmp_path),
        "reimage_power_tasks": str(tmp_path / "nothing.yml"),
        "reimage_booted_timeout": 60,
        "reimage_image": "classroom",
        "reimage_looked_up": {"images": [{"name": "classroom", "version": "1", "digest": ""}]},
        "reimage_walks": {"reimage": steps},
    }
    hosts = {
        "pc-01": hostile.variables,
        "server": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
    }
    role = {"ansible.builtin.include_role": {"name": "reimage.lab.reimage"}}
    files = {
        "nothing.yml": [],
        "wait.yml": [{"ansible.builtin.wait_for": {"path": str(tmp_path / "go"), "timeout": 60}, "delegate_to": "server"}],
        "step.yml": [{"ansible.builtin.raw": f"echo {SECRET}"}],
        "variables.json": variables,
        "inventory.json": {"all": {"hosts": hosts}},
        "play.json": [{"hosts": "pc-01", "gather_facts": False, "tasks": [role]}],
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    words = ["ansible-playbook", "-i", tmp_path / "inventory.json", "-e", f"@{tmp_path}/variables.json", tmp_path / "play.json"]
    return subprocess.Popen(words, cwd=PROJECT, text=True, stdout=(tmp_path / "log").open("w"), stderr=subprocess.STDOUT)


def test_secret_goes_to_nobody_once_a_second_machine_has_checked_in(
    tmp_path: Path, network: WebServer, hostile: HostileMachine
) -> None:
    run = start_run(tmp_path, network, hostile)
    wait_until(lambda: network.ask(SCRIPT, "--interface", HOSTILE)[0] == 200, 60, "the machine to be armed")
    script = network.ask(SCRIPT, "--interface", HOSTILE)[1]
    token = re.search("reimage.token=([0-9a-f]{32})", script)
    assert token is not None
    assert check_in_with(network, token[1], HOSTILE, host_keys=hostile.host_keys) == 201
    wait_until(lambda: f"checked in from {HOSTILE}" in (tmp_path / "log").read_text(), 60, "the run to believe it")

    network.ask(SCRIPT, "--interface", MACHINE)
    assert check_in_with(network, token[1], MACHINE) == 201
    wait_until(lambda: not list(network.layout.arrivals.iterdir()), 20, "the check-in to be judged")
    (tmp_path / "go").touch()
    assert run.wait(60) == 2
    said = " ".join((tmp_path / "log").read_text().split())
    assert re.search(f"two machines have checked in as {MAC}: one from {HOSTILE}, at .*, and another from {MACHINE}, at ", said)
    assert SECRET not in json.dumps(hostile.heard())
    assert token[1] not in said
