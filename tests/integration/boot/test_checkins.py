# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may be the machine, asked of the real nginx: a machine is an address here, and what it asks really comes from there."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.arrivals import receive
from ansible_collections.reimage.lab.plugins.module_utils.boot.checkins import CheckinError
from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import load_configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.diagnosis import diagnose
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import load_checkin, load_outcome
from ansible_collections.reimage.lab.plugins.module_utils.boot.packets import Capture
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import arm, disarm
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import Arming, load_arming
from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until
from ansible_collections.reimage.lab.plugins.module_utils.fleet.states import advance, load_record, save_record
from ansible_collections.reimage.lab.plugins.modules import diagnosis_info

from .conftest import PROJECT, WEB_SERVER, WebServer

MAC = "52:54:00:77:01:01"
SCRIPT = "/boot/machines/52-54-00-77-01-01.ipxe"
MACHINE, HOSTILE, LOADER = "10.77.1.101", "10.77.1.66", "10.77.1.200"
UNARMED = PROJECT / "roles/automation_image/files/root/usr/lib/reimage/unarmed.py"
KEY = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"


def make_network(web_server: WebServer) -> None:
    """Make a network with other machines, and say what can be booted."""
    layout = web_server.layout
    for address in (MACHINE, HOSTILE, LOADER):
        web_server.run("ip", "address", "replace", f"{address}/32", "dev", "lo")
    (layout.http / "vmlinuz").touch()
    configuration = {
        "url": "http://10.77.1.2",
        "targets": {"automation": {"kernel": "vmlinuz"}},
        "subnets": ["10.77.1.0/24"],
        "access_log": str(web_server.logs / "reimage.log"),
    }
    layout.configuration.write_text(json.dumps(configuration))


@pytest.fixture
def arming(web_server: WebServer) -> Iterator[Arming]:
    """Return what the machine is armed with."""
    layout = web_server.layout
    make_network(web_server)
    arm(layout, MAC, "automation")
    found = load_arming(layout, MAC)
    assert found is not None
    yield found
    disarm(layout, MAC, lambda: None)


def check_in(web_server: WebServer, arming: Arming, sender: str, *options: str, **changes: Any) -> int:
    """Have a machine check in, and return what nginx answers."""
    return check_in_with(web_server, arming.token, sender, *options, **changes)


def check_in_with(web_server: WebServer, token: str, sender: str, *options: str, **changes: Any) -> int:
    """Check in with a token, however it was come by."""
    key = base64.b64encode(KEY + sender.ljust(32, "k").encode()).decode()
    value = {
        "protocol": 1,
        "mac": MAC,
        "macs": [MAC],
        "address": sender,
        "host_keys": [f"ssh-ed25519 {key}"],
        "firmware": "bios",
        "memory_bytes": 1 << 30,
        "cpus": 1,
        "disks": [],
        **changes,
    }
    words = ["--interface", sender, "--request", "PUT", "--data-binary", json.dumps(value), *options]
    return web_server.ask(f"/checkin/{token}/checkin.json", *words)[0]


def fetch_script(web_server: WebServer, address: str) -> None:
    assert web_server.ask(SCRIPT, "--interface", address)[0] == 200


def judge(web_server: WebServer) -> str:
    """Do what the path unit starts, and return what goes to the journal."""
    return "\n".join(receive(web_server.layout))


def test_machine_is_whoever_fetched_the_script_and_is_where_it_says(web_server: WebServer, arming: Arming) -> None:
    fetch_script(web_server, MACHINE)
    assert check_in(web_server, arming, MACHINE) == 201
    said = judge(web_server)
    found = load_checkin(web_server.layout, arming)
    assert found is not None and (found["address"], found["fetched_by"]) == (MACHINE, [MACHINE])
    assert said == f"{MAC}: the check-in from {MACHINE} was accepted"
    assert list(web_server.layout.arrivals.iterdir()) == []
    outcome = web_server.layout.outcome(MAC)
    for command in (["cat", str(outcome)], ["rm", "-f", str(outcome)]):
        assert subprocess.run(["runuser", "-u", WEB_SERVER, "--", *command], capture_output=True, check=False).returncode != 0


def test_loader_with_another_address_is_told(web_server: WebServer, arming: Arming) -> None:
    fetch_script(web_server, LOADER)
    check_in(web_server, arming, MACHINE)
    judge(web_server)
    found = load_checkin(web_server.layout, arming)
    assert found is not None and (found["address"], found["fetched_by"]) == (MACHINE, [LOADER])


def test_machine_cannot_name_another_host(web_server: WebServer, arming: Arming) -> None:
    fetch_script(web_server, HOSTILE)
    assert check_in(web_server, arming, HOSTILE, address=MACHINE) == 201
    assert f"it says that it is at {MACHINE}, and came from {HOSTILE}" in judge(web_server)
    assert load_outcome(web_server.layout, arming).checkin is None


def test_second_machine_is_refused_and_ends_the_run(web_server: WebServer, arming: Arming) -> None:
    """Today's attack, in both orders: whoever reads the token, the run does not end well unnoticed."""
    fetch_script(web_server, HOSTILE)
    assert check_in(web_server, arming, HOSTILE) == 201
    judge(web_server)
    fetch_script(web_server, MACHINE)
    assert check_in(web_server, arming, MACHINE) == 201
    assert "another check-in was accepted before" in judge(web_server)
    with pytest.raises(CheckinError, match=f"one from {HOSTILE}, .* another from {MACHINE}"):
        load_checkin(web_server.layout, arming)


def test_neither_overwrites_the_other_before_they_are_judged(web_server: WebServer, arming: Arming) -> None:
    fetch_script(web_server, MACHINE)
    for serial in ("one", "two"):
        assert check_in(web_server, arming, MACHINE, serial=serial) == 201
        time.sleep(0.02)  # a tick of the kernel's clock
    judge(web_server)
    with pytest.raises(CheckinError, match="two machines have checked in"):
        load_checkin(web_server.layout, arming)


def test_header_date_does_not_set_when_it_was_received(web_server: WebServer, arming: Arming) -> None:
    fetch_script(web_server, MACHINE)
    check_in(web_server, arming, MACHINE, "--header", "Date: Fri, 01 Jan 2100 00:00:00 GMT")
    (path,) = web_server.layout.arrivals.iterdir()
    assert path.stat().st_mtime > 4e9  # nginx believes it
    judge(web_server)
    found = load_checkin(web_server.layout, arming)
    assert found is not None and abs(found["received_at"] - time.time()) < 60


def test_progress_of_others_does_not_overwrite_the_machines(web_server: WebServer, arming: Arming) -> None:
    for sender in (MACHINE, HOSTILE):
        words = ["--interface", sender, "--request", "PUT", "--data-binary", f'"{sender}"']
        assert web_server.ask(f"/checkin/{arming.token}/progress.json", *words)[0] == 201
    folder = web_server.layout.inbox(arming.token)
    assert (folder / f"{MACHINE}.progress.json").read_text() == f'"{MACHINE}"'


def test_one_address_cannot_send_check_ins_without_end(web_server: WebServer, arming: Arming) -> None:
    words = ["curl", "--silent", "--interface", HOSTILE, "--request", "PUT", "--data-binary", "{}", "--output", "/dev/null"]
    many = f"http://{web_server.address}/checkin/{arming.token}/checkin.json?[1-200]"
    statuses = web_server.run(*words, "--write-out", "%{http_code} ", many).stdout.split()
    assert set(statuses) == {"201", "503"}
    assert check_in(web_server, arming, MACHINE) == 201
    judge(web_server)
    assert arming.token not in web_server.logged()


def test_status_page_does_not_tell_who_is_armed(web_server: WebServer, arming: Arming) -> None:
    """Today's attack polls it, and learns whose script to fetch."""
    layout = web_server.layout
    record, name = f"/status/machines/{MAC.replace(':', '-')}.json", f"{MAC.replace(':', '-')}.json"
    (layout.states / "index.json").write_text("{}\n")
    (layout.states / "index.json").chmod(0o644)

    def public() -> tuple[int, str, str]:
        return (*web_server.ask(record), web_server.ask("/status/machines/")[1])

    before = public()
    assert before[0] == 404
    save_record(layout, advance(load_record(layout, MAC), "armed", name="pc-01"))
    assert load_record(layout, MAC)["state"] == "armed"
    assert public() == before
    save_record(layout, advance(load_record(layout, MAC), "booted"))
    status, body, listed = public()
    assert (status, json.loads(body)["state"]) == (200, "booted") and name in listed
    save_record(layout, advance(load_record(layout, MAC), "failed", note="x"))
    settled = public()
    save_record(layout, advance(load_record(layout, MAC), "armed"))
    assert public() == settled


class TestMachineThatIsNotArmedAnyMore:
    """The program of automation that says so, with a kernel's command line of its own; the test's computer is the machine."""

    @staticmethod
    def leaves(web_server: WebServer, arming: Arming, url: str = "http://127.0.0.1", *, worked_on: bool = False) -> bool:
        card = MAC.replace(":", "-")
        line = web_server.folder / "cmdline"
        line.write_text(f"quiet reimage.url={url} reimage.token={arming.token} reimage.mac={MAC} BOOTIF=01-{card}\n")
        progress = "mount -t tmpfs none /run && mkdir /run/reimage && touch /run/reimage/progress.json && " if worked_on else ""
        script = f"{progress}mount --bind {line} /proc/cmdline && exec python3 -B {UNARMED}"
        words = ["ip", "netns", "exec", web_server.namespace, "sh", "-c", script]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert done.stderr == ""
        return done.returncode == 0

    def test_it_starts_its_own_disk_once_it_is_disarmed(self, web_server: WebServer, arming: Arming) -> None:
        assert not self.leaves(web_server, arming)
        disarm(web_server.layout, MAC, lambda: None)
        assert self.leaves(web_server, arming)
        arm(web_server.layout, MAC, "automation")
        assert self.leaves(web_server, arming)  # and comes back with the new token

    def test_with_a_disk_that_was_worked_on_it_waits_until_it_is_armed_anew(self, web_server: WebServer, arming: Arming) -> None:
        """Its disk may have no identity yet. The run that arms it again waits for it, and nobody has to go there."""
        disarm(web_server.layout, MAC, lambda: None)
        assert not self.leaves(web_server, arming, worked_on=True)
        arm(web_server.layout, MAC, "automation")
        assert self.leaves(web_server, arming, worked_on=True)

    def test_it_stays_where_it_would_be_started_with_the_same_token_again(self, web_server: WebServer, arming: Arming) -> None:
        """The boot server is damaged: a restart would be the first of many."""
        web_server.layout.inbox(arming.token).rmdir()
        assert check_in(web_server, arming, MACHINE) == 404
        for script in web_server.layout.scripts(MAC):
            kept = script.rename(script.with_suffix(".kept"))
            assert not self.leaves(web_server, arming)  # for the other loader's has it
            kept.rename(script)
        web_server.layout.inbox(arming.token).mkdir()

    def test_it_stays_where_the_boot_server_does_not_answer(self, web_server: WebServer, arming: Arming) -> None:
        disarm(web_server.layout, MAC, lambda: None)
        assert not self.leaves(web_server, arming, "http://127.0.0.1:9")

    def test_it_stays_while_somebody_is_logged_in(self, web_server: WebServer, arming: Arming) -> None:
        disarm(web_server.layout, MAC, lambda: None)
        inside = ["ip", "netns", "exec", web_server.namespace, "socat"]
        with subprocess.Popen([*inside, "TCP-LISTEN:22", "EXEC:sleep 60"]) as server:
            words = [*inside, "TCP:127.0.0.1:22,retry=50,interval=0.1", "EXEC:sleep 60"]
            with subprocess.Popen(words) as client:
                wait_until(lambda: "ESTAB" in web_server.run("ss", "-Htn", "sport = 22").stdout, 20, "a connection")
                stays = not self.leaves(web_server, arming)
                client.terminate()
            server.terminate()
        assert stays


class TestDiagnosis:
    """What a diagnosis says of machines whose boot came as far as the web server."""

    @staticmethod
    def stage(web_server: WebServer, arming: Arming) -> str:
        configuration = load_configuration(web_server.layout)
        server = diagnosis_info.describe(web_server.layout, configuration, MAC, [MAC])
        seen = diagnosis_info.look(configuration, [MAC], server, Capture(), arming.armed_at)
        return diagnose("pc-01", seen, time.time()).stage

    def test_machine_in_automation(self, web_server: WebServer, arming: Arming) -> None:
        fetch_script(web_server, MACHINE)
        assert self.stage(web_server, arming) == "on_its_way"
        check_in(web_server, arming, MACHINE)
        judge(web_server)
        assert self.stage(web_server, arming) == "in_automation"
        check_in(web_server, arming, HOSTILE)
        judge(web_server)
        assert self.stage(web_server, arming) == "two_machines"

    @pytest.mark.parametrize(("date", "stage"), [("Fri, 01 Jan 2016 00:00:09 GMT", "wrong_clock"), ("", "in_automation")])
    def test_machine_whose_clock_is_wrong(self, web_server: WebServer, arming: Arming, date: str, stage: str) -> None:
        fetch_script(web_server, MACHINE)
        check_in(web_server, arming, MACHINE, "--header", f"Date: {date or formatdate(usegmt=True)}")
        judge(web_server)
        assert self.stage(web_server, arming) == stage

    def test_machine_behind_a_translation_of_addresses(self, web_server: WebServer, arming: Arming) -> None:
        fetch_script(web_server, HOSTILE)
        check_in(web_server, arming, HOSTILE, address=MACHINE)
        judge(web_server)
        assert self.stage(web_server, arming) == "another_address"

    def test_check_in_that_is_refused_for_another_reason(self, web_server: WebServer, arming: Arming) -> None:
        fetch_script(web_server, MACHINE)
        check_in(web_server, arming, MACHINE, protocol=0)
        judge(web_server)
        assert self.stage(web_server, arming) == "checkin_refused"

    def test_check_in_that_nothing_looks_at(self, web_server: WebServer, arming: Arming, monkeypatch: pytest.MonkeyPatch) -> None:
        fetch_script(web_server, MACHINE)
        check_in(web_server, arming, MACHINE)
        assert self.stage(web_server, arming) == "on_its_way"
        monkeypatch.setattr(diagnosis_info, "UNJUDGED", -1)
        assert self.stage(web_server, arming) == "checkin_waits"
        judge(web_server)

    def test_machine_that_was_disarmed_while_it_started(self, web_server: WebServer, arming: Arming) -> None:
        fetch_script(web_server, MACHINE)
        disarm(web_server.layout, MAC, lambda: None)
        assert check_in(web_server, arming, MACHINE) == 404
        assert self.stage(web_server, arming) == "token_void"
