# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever checked in has to show that it is the machine before it is asked for anything. A real sshd plays it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from .hostile import HostileMachine

ROOT = Path(__file__).resolve().parents[2]
NONCE, TOKEN, BUILD = "ab" * 16, "0123456789abcdef" * 2, "fedcba9876543210"
ANSWER = hashlib.sha256(f"{NONCE}{TOKEN}".encode()).hexdigest()
ADDRESS, SECRET = "192.0.2.66", "for-its-eyes-only"


def work_on(tmp_path: Path, machine: HostileMachine, **addresses: str) -> str:
    """Have the role do a step in automation, and return what Ansible printed.

    :param addresses: What other hosts of the inventory have.
    """
    checkin = {"address": ADDRESS, "build": BUILD, "challenge": {"nonce": NONCE, "answer": ANSWER}}
    role = {"reimage_known_hosts": str(tmp_path), "reimage_do": str(tmp_path / "step.yml"), "reimage_seen": {"checkin": checkin}}
    (tmp_path / "step.yml").write_text(json.dumps([{"ansible.builtin.raw": f"echo {SECRET}"}]))
    hosts = {"pc-01": {**machine.variables, **role}, **{name: {"ansible_host": at} for name, at in addresses.items()}}
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    task = {"ansible.builtin.include_role": {"name": "reimage.lab.reimage", "tasks_from": "in_automation.yml"}}
    (tmp_path / "play.json").write_text(json.dumps([{"hosts": "pc-01", "gather_facts": False, "tasks": [task]}]))
    words = ["ansible-playbook", "-vvv", "-i", tmp_path / "inventory.json", tmp_path / "play.json"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120).stdout


def told(machine: HostileMachine) -> list[str]:
    """Return what it was told to run."""
    return [entry["command"] for entry in machine.heard()]


def test_machine_with_the_token_is_worked_on(tmp_path: Path, hostile: HostileMachine) -> None:
    hostile.answers("/proc/cmdline", f"{ANSWER}  -\n{BUILD}\n")
    output = work_on(tmp_path, hostile)
    assert SECRET in told(hostile)[1]
    assert TOKEN not in output


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (f"{hashlib.sha256(NONCE.encode()).hexdigest()}  -\n{BUILD}\n", "does not show the token that pc-01 was started with"),
        (f"{ANSWER}  -\n0000000000000000\n", f"does not run build {BUILD} of automation"),
    ],
    ids=["no token", "another build"],
)
def test_whoever_does_not_show_it_is_asked_for_nothing_else(
    tmp_path: Path, hostile: HostileMachine, shown: str, said: str
) -> None:
    """As another host does, whose address and real host key somebody put into a check-in."""
    hostile.answers("/proc/cmdline", shown)
    output = " ".join(work_on(tmp_path, hostile).split())
    assert said in output
    (only,) = told(hostile)
    assert "/proc/cmdline" in only
    assert SECRET not in json.dumps(hostile.heard())


@pytest.mark.parametrize("owner", ["router", "pc-02"])
def test_address_of_a_server_or_another_machine_is_not_even_connected_to(
    tmp_path: Path, hostile: HostileMachine, owner: str
) -> None:
    hostile.answers("/proc/cmdline", f"{ANSWER}  -\n{BUILD}\n")
    hostile.variables["ansible_host"] = "192.0.2.99"
    output = " ".join(work_on(tmp_path, hostile, **{owner: ADDRESS}).split())
    assert f"{ADDRESS}, which checked in as pc-01, is the address of {owner}: find out what else has it" in output
    assert told(hostile) == []


def test_command_gives_what_the_boot_server_expects(tmp_path: Path, hostile: HostileMachine) -> None:
    """Run for real, by a shell, with a command line like that of the kernel."""
    work_on(tmp_path, hostile)
    (command,) = told(hostile)
    (tmp_path / "cmdline").write_text(f"initrd=initrd reimage.url=http://10.77.1.2 reimage.token={TOKEN} reimage.mac=x quiet\n")
    (tmp_path / "build").write_text(f"{BUILD}\n")
    local = command.replace("/proc/cmdline", str(tmp_path / "cmdline")).replace("/etc/reimage-build", str(tmp_path / "build"))
    done = subprocess.run(["sh", "-c", local], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [ANSWER, "-", BUILD]
