# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The virtual lab, run once by the demo itself and left running for the tests to look at and to run again in."""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Iterator

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
    lab_down = ["ansible-playbook", "-i", "inventories/virtual-lab", "reimage.lab.virtual_lab", "-e", "virtual_lab_state=absent"]
    try:
        _run(lab_down, PLAY_TIMEOUT)  # one that a person left running has disks that are not new
        result = _run(["scripts/demo"], DEMO_TIMEOUT, KEEP_LAB="1")
        (ROOT / "var/demo.log").write_text(result.stdout)
        assert result.returncode == 0, result.stdout[-6000:]
        yield result.stdout
    finally:
        result = _run(lab_down, PLAY_TIMEOUT)
        assert result.returncode == 0, result.stdout[-3000:]
        _assert_nothing_is_left()


def _assert_nothing_is_left() -> None:
    """No namespace, no machine, nothing that ran in one, and no PC of the lab, also after a failure."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    programs = ("qemu-system", "systemd-nspawn", "slirp4netns", "dnsmasq", "isc-dhcp")
    left = [line for line in listed if str(ROOT / "var/lab") in line and any(name in line for name in programs)]
    found = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout.splitlines()
    namespaces = [line for line in found if line.startswith("reimage-")]
    inside = [path.parent.name for path in Path("/proc").glob("[0-9]*/mountinfo") if is_of_a_machine(path)]
    assert (left, namespaces, inside) == ([], [], [])


def is_of_a_machine(mountinfo: Path) -> bool:
    """Whether a process has the root filesystem of a machine of the lab, whatever it is called there."""
    with suppress(OSError):  # it has ended
        return f"{ROOT.name}/var/lab/machines/" in mountinfo.read_text()
    return False


def records() -> dict[str, dict[str, Any]]:
    """What the imaging server knows of each machine, by its name."""
    folder = ROOT / "var/lab/machines/lab-server/rootfs/srv/reimage/boot/state"
    return {record["name"]: record for record in (json.loads(path.read_text()) for path in folder.glob("*-*.json"))}


def fields(recap: str, name: str) -> dict[str, int]:
    """What Ansible counted for a machine."""
    line = next(line for line in recap.splitlines() if re.match(rf"{name}\s+: ok=", line))
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}


def switch(name: str, state: str, *more: str) -> None:
    """Switch a PC on, pull its plug, or reset it."""
    options = " ".join([f"root=var/lab name={name} state={state}", *more])
    words = ["ansible", "localhost", "-m", "reimage.lab.virtual_pc", "-a", options]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=120)


def largest_partition(disk: Path) -> dict[str, int]:
    """Return start and size, in sectors."""
    table = json.loads(subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True).stdout)
    return max(table["partitiontable"]["partitions"], key=lambda partition: partition["size"])  # type: ignore[no-any-return]


@contextmanager
def attached(disk: Path) -> Iterator[str]:
    """Make the largest partition of a disk a block device."""
    partition = largest_partition(disk)
    span = [f"--offset={partition['start'] * 512}", f"--sizelimit={partition['size'] * 512}"]
    attach = ["losetup", "--find", "--show", "--sector-size=512", *span, disk]
    loop = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield loop
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)


def command(playbook: str, *variables: str) -> list[str]:
    """Return what a person would type."""
    extra = [word for variable in variables for word in ("-e", variable)]
    return ["ansible-playbook", "-i", "inventories/virtual-lab", playbook, *extra]


@pytest.fixture(scope="session")
def play(demo: str) -> Play:
    """Run a playbook in the lab that the demo left running, and return its end."""

    def run(playbook: str, *variables: str, check: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
        return _run([*command(playbook, *variables), *(["--check"] if check else [])], PLAY_TIMEOUT, **environment)

    return run
