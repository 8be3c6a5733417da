# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk has one writer at a time, and whoever comes second is told who the first is."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until
from ansible_collections.reimage.lab.plugins.module_utils.disk import lock
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import claimed
from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError
from ansible_collections.reimage.lab.plugins.modules import linux_identity, registry_merge, sysprep_inject, windows_drivers

ROUNDS = 20
ROOT_AT, ROOT_SIZE = 1 << 20, 8 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk with a small Linux."""
    for name in ("etc/os-release", "etc/fstab", "etc/hostname"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text("")
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(10 << 20)
    sh("sfdisk", "-q", path, data="label: dos\nsize=8MiB, type=83\n")
    sh("mkfs.ext4", "-q", "-F", "-E", f"offset={ROOT_AT}", "-d", tmp_path / "tree", path, f"{ROOT_SIZE >> 10}k")
    return path


@pytest.fixture
def loop(disk: Path) -> Iterator[str]:
    """The same disk as a block device, with devices for its partitions."""
    name = sh("losetup", "--find", "--show", "--sector-size=512", disk).strip()
    sh("partx", "--add", name)
    yield name
    sh("partx", "--delete", name)
    sh("losetup", "--detach", name)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.2)


def sh(*words: object, data: str = "") -> str:
    return subprocess.run([str(word) for word in words], input=data, check=True, capture_output=True, text=True).stdout


@contextmanager
def holding(path: object, how: str = "--exclusive") -> Iterator[int]:
    """Have another program hold the lock of a disk, and yield its process id."""
    process = subprocess.Popen(["flock", how, "--no-fork", str(path), "sleep", "60"])
    wait_until(lambda: "sleep" in Path(f"/proc/{process.pid}/comm").read_text(), 10, "flock to take the lock")
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def call(module: ModuleType, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def identify(disk: Path, name: str, start: Any, results: Any) -> None:
    """Give the Linux a name at the moment at which another process does, too."""
    work = linux_identity.work

    def together(module: Any) -> dict[str, Any]:
        start.wait(30)
        return work(module)

    linux_identity.work = together  # type: ignore[assignment]
    linux_identity.AnsibleModule._return_formatted = lambda _self, result: results.put(result)
    with patch_module_args({"disk": str(disk), "hostname": name}):
        linux_identity.main()


def test_two_that_start_at_the_same_moment_take_turns(disk: Path) -> None:
    """Without a lock three of eight rounds damaged the filesystem."""
    fork = multiprocessing.get_context("fork")
    start, results = fork.Barrier(2), fork.SimpleQueue()
    for number in range(ROUNDS):
        names = [f"pc-{number}-a", f"pc-{number}-b"]
        both = [fork.Process(target=identify, args=(disk, name, start, results)) for name in names]
        for one in both:
            one.start()
        ended = [results.get() for _one in both]
        for one in both:
            one.join()
        assert sh("e2fsck", "-fn", f"{disk}?offset={ROOT_AT}")
        changed = [result for result in ended if result.get("changed")]
        refused = [result["msg"] for result in ended if result.get("failed")]
        assert changed and len(changed) + len(refused) == 2
        assert all("being worked on by pid" in message for message in refused)
        held = [
            sh("debugfs", "-R", f"cat /etc/{name}", f"{disk}?offset={ROOT_AT}").strip() for name in ("hostname", "machine-id")
        ]
        assert held[0] in names
        assert held[1] in [result["machine_id"] for result in changed]


@pytest.mark.usefixtures("impatient")
class TestLock:
    @pytest.mark.parametrize("write", [False, True])
    def test_who_holds_it_is_named(self, loop: str, write: bool) -> None:
        said = rf"{loop} is being worked on by pid %s \(sleep\): wait until that has ended"
        with holding(loop) as pid, pytest.raises(DiskError, match=said % pid), claimed(loop, write=write):
            pytest.fail("two have it")
        with claimed(loop, write=write):
            pass

    def test_disk_and_loop_device_over_it_are_one(self, disk: Path, loop: str) -> None:
        for one, other in ((disk, loop), (loop, str(disk))):
            refused = pytest.raises(DiskError, match="is being worked on")
            with claimed(str(one), write=True), refused, claimed(str(other), write=True):
                pytest.fail("two have it")

    def test_partition_is_its_disk(self, disk: Path, loop: str) -> None:
        with lock.locked(f"{loop}p1", exclusive=True):
            for path in (loop, str(disk)):
                with pytest.raises(DiskError, match="is being worked on"), claimed(path, write=True):
                    pytest.fail("two have it")

    def test_udev_and_others_that_look_at_it_leave_it_alone_meanwhile(self, loop: str) -> None:
        """They ask for a shared lock of the whole disk."""
        with claimed(loop, write=True):
            assert subprocess.run(["flock", "--nonblock", "--shared", loop, "true"], check=False).returncode == 1
        sh("flock", "--nonblock", "--shared", loop, "true")

    def test_those_that_only_read_do_so_together_and_no_writer_comes_between(self, loop: str) -> None:
        with holding(loop, "--shared") as pid:
            with claimed(loop, write=False), claimed(loop, write=False):
                pass
            with pytest.raises(DiskError, match=rf"being worked on by pid {pid} \(sleep\)"), claimed(loop, write=True):
                pytest.fail("a writer came between")

    def test_name_of_the_holder_is_no_terminal_code(self, loop: str, tmp_path: Path) -> None:
        program = tmp_path / "\x1b[31mred"
        program.symlink_to("/usr/bin/sleep")
        process = subprocess.Popen(["flock", "--no-fork", loop, program, "60"])
        try:
            wait_until(lambda: "red" in Path(f"/proc/{process.pid}/comm").read_text(), 10, "the program to start")
            with pytest.raises(DiskError, match=rf"pid {process.pid} \(\?\[31mred\)"), claimed(loop, write=True):
                pytest.fail("two have it")
        finally:
            process.kill()
            process.wait()


def test_lock_that_somebody_has_for_a_moment_is_waited_for(loop: str) -> None:
    with holding(loop, "--shared") as pid:
        subprocess.Popen(["sh", "-c", f"sleep 0.3; kill {pid}"])
        with claimed(loop, write=True) as path:
            assert path == loop


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (linux_identity, {"hostname": "pc-01"}),
        (sysprep_inject, {"computer_name": "PC-01"}),
        (registry_merge, {"keys": [{"path": r"HKEY_LOCAL_MACHINE\SOFTWARE\Lab", "name": "Room", "data": "1"}]}),
        (windows_drivers, {"packs": "/nothing"}),
    ],
)
def test_disk_with_something_mounted_is_left_alone(
    module: ModuleType, options: dict[str, Any], disk: Path, loop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "mnt"
    place.mkdir()
    sh("mount", f"{loop}p1", place)
    try:
        for path in (loop, str(disk)):
            result = call(module, capsys, disk=path, **options)
            assert result["failed"] and f"{loop}p1, on {path}, is in use: mounted at {place}" in result["msg"]
    finally:
        sh("umount", place)


def test_disk_with_swap_in_use_is_left_alone(loop: str) -> None:
    sh("mkswap", "-f", f"{loop}p1")
    sh("swapon", f"{loop}p1")
    try:
        said = rf"{loop}p1, on {loop}, is in use: mounted at \[SWAP\]"
        with pytest.raises(HardwareError, match=said), claimed(loop, write=True):
            pytest.fail("it is taken")
    finally:
        sh("swapoff", f"{loop}p1")


def test_disk_that_is_mounted_where_nobody_looks_is_left_alone(disk: Path, loop: str, tmp_path: Path) -> None:
    """In a mount namespace of its own, which neither this process nor lsblk sees."""
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"mount {loop}p1 {tmp_path} && echo && exec sleep 60"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline()
    try:
        for path in (loop, str(disk)):
            said = rf"{loop}\S*, on {path}, is in use where it is not seen from here"
            with pytest.raises(HardwareError, match=said), claimed(path, write=True):
                pytest.fail("it is taken")
    finally:
        process.kill()
        process.wait()
