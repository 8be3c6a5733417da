# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job, for real: a master is captured and three PCs are reimaged over PXE, as `make demo` does it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import IO

from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until
from ansible_collections.reimage.lab.plugins.module_utils.lab.qmp import Monitor

from ..integration.module import kill_controller
from .conftest import PLAY_TIMEOUT, ROOT, Play, attached, command, fields, largest_partition, records, switch

PCS = ["pc-01", "pc-02", "pc-03"]
STATES = [
    "armed",
    "booted",
    "preflight",
    "writing",
    "verified",
    "identified",
    "released",
    "first_boot",
    "reachable",
    "done",
]
IDENTITY = ["/etc/hostname", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"]


def test_every_machine_walked_all_states_in_order(demo: str) -> None:
    found = records()
    for name in PCS:
        history = found[name]["history"]
        assert [entry["state"] for entry in history] == STATES


def test_reimage_shows_at_most_60_results_a_machine(demo: str) -> None:
    for name in PCS:
        counted = fields(demo, name)  # the first recap that names it is that of the reimage
        assert counted["ok"] + counted["skipped"] <= 60, counted


def test_second_run_changed_nothing(demo: str) -> None:
    recap = (ROOT / "var/lab/second-run.log").read_text()
    for name in PCS:
        assert fields(recap, name)["changed"] == 0
        assert fields(recap, name)["failed"] == 0


def test_machine_that_nobody_armed_started_its_own_disk(demo: str) -> None:
    assert "pc-04 started its own disk" in (ROOT / "var/lab/pcs/pc-04.serial.log").read_text(errors="replace")
    assert "pc-04" not in records()


def test_pc_with_secure_boot_was_started_by_signed_grub(demo: str) -> None:
    """What its production says of Secure Boot is in the demo's own proof."""
    log = (ROOT / "var/lab/machines/lab-server/rootfs/var/log/nginx/reimage.log").read_text()
    assert '"uri": "/boot/machines/52:54:00:77:01:02.grub", "status": 200' in log
    assert json.loads((ROOT / "var/lab/pcs/pc-02.json").read_text())["secure_boot"] is True


def test_report_has_every_machine_and_needs_no_network(demo: str) -> None:
    report = json.loads((ROOT / "var/report/report.json").read_text())
    page = (ROOT / "var/report/report.html").read_text()
    for name in PCS:
        assert name in json.dumps(report)
        assert name in page
        assert list((ROOT / "var/lab/screens" / name).glob("*.png"))
    assert page.count("data:image/png;base64,") >= len(PCS)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)


def test_terminal_shows_progress_and_a_table(demo: str) -> None:
    assert re.search(r"pc-0[123].*\d+ ?%.*MiB/s", demo)
    assert re.search(r"pc-01 .*done", demo)


def test_setting_the_server_up_again_changes_nothing(play: Play) -> None:
    result = play("reimage.lab.setup_server")
    assert result.returncode == 0, result.stdout[-4000:]
    assert fields(result.stdout, "lab-server")["changed"] == 0, re.findall(r"TASK \[(.*)\] \**\nchanged", result.stdout)


def test_programs_of_automation_start_with_the_libraries_that_are_in_it(demo: str) -> None:
    """What one of them is linked to was left out twice, and nobody saw it until the program was needed."""
    image = ROOT / "var/lab/machines/lab-server/rootfs/srv/reimage/boot/http/automation/initrd.img"
    done = subprocess.run([ROOT / "tests/bench/programs", image], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == ("all programs start\n", "")


def test_screen_of_a_pc_can_be_looked_at_and_its_reset_button_pressed(demo: str, tmp_path: Path) -> None:
    shot, log = tmp_path / "screen.png", ROOT / "var/lab/pcs/pc-02.serial.log"
    switch("pc-02", "running", f"screenshot={shot}")
    assert shot.read_bytes().startswith(b"\x89PNG")
    before = log.stat().st_size
    switch("pc-02", "reset")
    wait_until(lambda: log.stat().st_size > before, 120, "pc-02 to start again")


def debugfs(request: str, filesystem: str) -> str:
    return subprocess.run(["debugfs", "-R", request, filesystem], check=True, capture_output=True, text=True).stdout.strip()


def test_disks_are_clean_and_hold_identities_that_neither_another_nor_the_master_has(demo: str) -> None:
    """Read from each disk with e2fsck and debugfs, while the PC is switched off as if its plug had been pulled."""
    found: dict[str, list[str]] = {}
    for name in ("master", *PCS):
        switch(name, "stopped")
        with attached(ROOT / f"var/lab/pcs/{name}.raw") as loop:
            # As the next start would: the journal is replayed first.
            assert subprocess.run(["e2fsck", "-fp", loop], check=False, capture_output=True).returncode in (0, 1)
            assert subprocess.run(["e2fsck", "-fn", loop], check=False, capture_output=True).returncode == 0
            found[name] = [debugfs(f"cat {file}", loop) for file in IDENTITY]
    assert all(all(found[name]) for name in PCS), found
    assert [found[name][0] for name in PCS] == PCS
    for values in zip(*found.values()):
        assert len(set(values)) == len(values), values


class TestBadInput:
    """One clear error each, before anything was written."""

    def refused(self, result: subprocess.CompletedProcess[str], *words: str) -> None:
        assert result.returncode != 0
        for word in words:
            assert word in result.stdout, result.stdout[-3000:]
        assert {name: records()[name]["state"] for name in PCS} == dict.fromkeys(PCS, "done")

    def test_no_target(self, play: Play) -> None:
        self.refused(play("reimage-lab.yml"), "-e target=NAME")

    def test_unknown_image(self, play: Play) -> None:
        self.refused(play("reimage-lab.yml", "target=lab_pcs", "reimage_image=nosuch"), "nosuch", "classroom-linux")

    def test_unknown_version(self, play: Play) -> None:
        self.refused(play("reimage-lab.yml", "target=lab_pcs", "reimage_version=v0"), "v0", "classroom-linux")

    def test_power_tasks_that_are_not_there(self, play: Play) -> None:
        self.refused(
            play("reimage-lab.yml", "target=lab_pcs", "reimage_force=true", "reimage_power_tasks=/nowhere/power.yml"),
            "there is no file /nowhere/power.yml",
        )

    def test_store_that_is_not_there(self, play: Play) -> None:
        self.refused(play("reimage-lab.yml", "target=lab_pcs", "reimage_root=/nowhere"), "/nowhere")


def test_check_mode_says_what_would_be_done_and_does_nothing(play: Play) -> None:
    before = records()
    result = play("reimage-lab.yml", "target=lab_pcs", "reimage_force=true", check=True)
    assert result.returncode == 0, result.stdout[-4000:]
    for name in PCS:
        assert f"{name} would be reimaged with classroom-linux/" in result.stdout
        assert fields(result.stdout, name)["changed"] == 1
    assert records() == before


def test_repair_writes_what_was_damaged_and_little_else(play: Play) -> None:
    disk = ROOT / "var/lab/pcs/pc-01.raw"
    switch("pc-01", "stopped")
    with attached(disk) as loop:
        block = int(debugfs("bmap /srv/lesson/page-100.txt 0", loop))
    place = largest_partition(disk)["start"] * 512 + block * 4096
    with disk.open("r+b") as file:
        file.seek(place)
        page = file.read(65536)
        assert page.startswith(b"page 100 of the lesson")
        file.seek(place)
        file.write(b"\xff" * len(page))
    result = play("reimage.lab.repair", "target=pc-01")
    assert result.returncode == 0, result.stdout[-4000:]
    with disk.open("rb") as file:
        file.seek(place)
        assert file.read(len(page)) == page
    assert records()["pc-01"]["state"] == "done"
    work = json.loads((ROOT / "var/report/report.json").read_text())["runs"][0]["machines"][0]["work"]
    assert 0 < work["bytes_written"] < work["bytes_used"] / 2


def is_writing(name: str) -> bool:
    """Whether a machine has told the server that it is writing its disk."""
    inbox = ROOT / "var/lab/machines/lab-server/rootfs/srv/reimage/boot/checkin"
    told = [path.read_text() for path in inbox.glob("*/*.progress.json")]
    return records()[name]["state"] == "writing" and any('"stage": "writing"' in text for text in told)


def start(arguments: list[str], log: IO[str]) -> subprocess.Popen[bytes]:
    """Start Ansible in a session of its own; what it says is in the log at once."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


def test_second_run_goes_on_where_controller_and_power_failed_the_first(play: Play, tmp_path: Path) -> None:
    """The controller is killed while the disk is written; a second run watches on; the plug is pulled; a third one ends it."""
    switch("pc-01", "stopped")
    disk = ROOT / "var/lab/pcs/pc-01.raw"
    size = disk.stat().st_size
    os.truncate(disk, 0)
    os.truncate(disk, size)
    arguments = command("reimage-lab.yml", "target=pc-01", "reimage_force=true")
    looks = {"reimage_hooks": {"before": {"writing": [str(Path(__file__).parent / "hooks/consoles.yml")]}}}
    with (tmp_path / "log").open("w") as log:
        first = start([*arguments, "-e", json.dumps(looks)], log)
        wait_until(lambda: records()["pc-01"]["state"] in ("booted", "preflight", "writing"), 300, "pc-01 to check in")
        with Monitor(ROOT / "var/lab/pcs/pc-01.qmp") as monitor:  # so that there is time for all of this
            limits = {"bps_wr": 2_000_000, **dict.fromkeys(("bps", "bps_rd", "iops", "iops_rd", "iops_wr"), 0)}
            monitor.command("block_set_io_throttle", device="disk", **limits)
        wait_until(lambda: is_writing("pc-01"), 120, "pc-01 to write its disk")
        kill_controller(first)
        second = start(arguments, log)
        watching = "pc-01: an earlier run is still at work on it"
        wait_until(lambda: watching in (tmp_path / "log").read_text(), 240, "the second run to watch the first one's work")
        switch("pc-01", "stopped")
        assert second.wait(PLAY_TIMEOUT) != 0
    assert records()["pc-01"]["state"] == "failed"
    assert "stopped answering" in records()["pc-01"]["reason"]
    result = play("reimage-lab.yml", "target=pc-01")
    assert result.returncode == 0, result.stdout[-4000:]
    assert records()["pc-01"]["state"] == "done"
    work = json.loads((ROOT / "var/report/report.json").read_text())["runs"][0]["machines"][0]["work"]
    assert 0 < work["bytes_written"] < work["bytes_used"]


def test_pc_that_hangs_can_be_switched_off(demo: str) -> None:
    switch("pc-03", "running")
    pid = int((ROOT / "var/lab/pcs/pc-03.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    switch("pc-03", "stopped")
    with suppress(OSError):  # it is gone, or it may have to be waited for by whoever adopted it
        assert not Path(f"/proc/{pid}/cmdline").read_bytes()


def test_machine_that_never_checks_in_is_named_with_what_was_awaited(play: Play, tmp_path: Path) -> None:
    """The power tasks do nothing, so the armed machine stays off."""
    nothing = tmp_path / "power_nothing.yml"
    nothing.write_text("---\n- name: Do nothing\n  ansible.builtin.meta: noop\n")
    switch("pc-01", "stopped")
    result = play(
        "reimage-lab.yml",
        "target=pc-01",
        "reimage_force=true",
        "reimage_booted_timeout=15",
        f"reimage_power_tasks={nothing}",
    )
    assert result.returncode != 0
    assert re.search(r"pc-01.*check.?in.*15 s", result.stdout), result.stdout[-3000:]
    assert records()["pc-01"]["state"] == "failed"
    assert "It had not been asked to restart, for it did not answer: " in records()["pc-01"]["reason"]
    for changed in (1, 0):  # it is called off, and then it is
        assert fields(play("reimage.lab.disarm", "target=pc-01").stdout, "pc-01")["changed"] == changed
