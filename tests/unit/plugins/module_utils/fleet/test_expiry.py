# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An arming that nobody works with any more ends, and no other does."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import Outcome, save_outcome
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import arm
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import Arming, load_arming
from ansible_collections.reimage.lab.plugins.module_utils.fleet.expiry import expire
from ansible_collections.reimage.lab.plugins.module_utils.fleet.lease import Claim, give_back, locked, take
from ansible_collections.reimage.lab.plugins.module_utils.fleet.states import advance, load_record, save_record

MAC = "52:54:00:77:01:01"
OTHER = "52:54:00:77:01:02"
BOUND = 7200
SAID = "its arming expired: for 2 h no run held it and it reported no progress, so its next start is from its own disk"


class Server:
    """A boot server, its clock, and how often its dnsmasq was reloaded."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.now = time.time()
        self.reloads = 0

    def clock(self) -> float:
        return self.now

    def arm(self, mac: str = MAC, target: str = "automation") -> Arming:
        arm(self.layout, mac, target)
        found = load_arming(self.layout, mac)
        assert found is not None
        return found

    def forget(self) -> None:
        assert not self.layout.hosts(MAC).exists()
        self.reloads += 1

    def pass_by(self, seconds: float) -> list[str]:
        self.now += seconds
        return list(expire(self.layout, self.forget))

    def record(self, *states: str, note: str = "") -> None:
        for state in states:
            save_record(self.layout, advance(load_record(self.layout, MAC), state, note=note))


@pytest.fixture
def server(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(layout)
    monkeypatch.setattr(time, "time", server.clock)
    return server


def test_machine_whose_run_is_gone_starts_its_own_disk_after_the_bound_and_its_record_says_why(server: Server) -> None:
    arming = server.arm()
    server.record("armed")
    assert server.pass_by(BOUND - 5) == []
    assert load_arming(server.layout, MAC) == arming
    assert server.pass_by(10) == [f"{MAC}: {SAID}; run the playbook again"]
    gone = (server.layout.hosts(MAC), *server.layout.scripts(MAC), server.layout.inbox(arming.token), server.layout.token(MAC))
    assert not any(path.exists() for path in gone)
    assert server.reloads == 1
    public = json.loads(server.layout.state(MAC).read_text())
    assert public["state"] == "failed" and SAID in public["reason"]
    assert server.pass_by(BOUND) == []
    assert server.reloads == 1


@pytest.mark.parametrize("state", ["registered", "done"])
def test_machine_that_was_armed_by_hand_keeps_its_state_and_is_told_of(server: Server, state: str) -> None:
    server.arm()
    if state != "registered":
        server.record("reachable", state)
    server.pass_by(BOUND + 5)
    record = load_record(server.layout, MAC)
    assert record["state"] == state and SAID in record["history"][-1]["note"]


def test_reason_of_a_failed_run_is_kept(server: Server) -> None:
    server.arm()
    server.record("failed", note="no disk has 1 GiB")
    server.pass_by(BOUND + 5)
    assert load_record(server.layout, MAC)["reason"].startswith(f"no disk has 1 GiB; then {SAID}")


def test_machine_that_a_run_holds_is_left_alone_and_the_bound_begins_with_the_last_renewal(server: Server) -> None:
    server.arm()
    with locked(server.layout, MAC):
        take(server.layout, MAC, Claim("run-1", seconds=86400))
    assert server.pass_by(86000) == []
    with locked(server.layout, MAC):
        take(server.layout, MAC, Claim("run-1", seconds=300))
    assert server.pass_by(BOUND - 5) == []
    assert len(server.pass_by(10)) == 1


def test_machine_whose_lease_was_given_back_counts_from_its_arming(server: Server) -> None:
    server.arm()
    server.now += BOUND
    with locked(server.layout, MAC):
        take(server.layout, MAC, Claim("run-1", seconds=300))
        give_back(server.layout, MAC)
    assert len(server.pass_by(5)) == 1


def test_machine_that_makes_progress_is_never_cut(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    arming = server.arm()
    save_outcome(server.layout, MAC, Outcome(arming.armed_at, {"address": "10.77.1.101", "received_at": server.now}))
    path = server.layout.progress(arming.token, "10.77.1.101")
    path.write_text("{}")
    heard, real = server.now + 10 * BOUND, Path.lstat

    def lstat(self: Path) -> os.stat_result:  # the web server's files have the time of the kernel
        status = list(real(self))
        return os.stat_result([*status[:9], heard] if self == path else status)

    monkeypatch.setattr(Path, "lstat", lstat)
    assert server.pass_by(11 * BOUND - 5) == []
    assert len(server.pass_by(10)) == 1


def test_check_in_makes_a_new_bound(server: Server) -> None:
    arming = server.arm()
    received = server.now + BOUND - 10
    save_outcome(server.layout, MAC, Outcome(arming.armed_at, {"address": "10.77.1.101", "received_at": received}))
    assert server.pass_by(2 * BOUND - 20) == []
    assert len(server.pass_by(20)) == 1


@pytest.mark.parametrize("renew", [False, True])
def test_arming_it_again_makes_a_new_bound(server: Server, renew: bool) -> None:
    server.arm()
    long_ago = server.now - BOUND + 10
    os.utime(server.layout.token(MAC), (long_ago, long_ago))
    assert arm(server.layout, MAC, "automation", renew=renew).expires_at == round(server.now + BOUND, 3)
    assert server.pass_by(BOUND - 5) == []
    assert len(server.pass_by(10)) == 1


def test_clock_that_was_ahead_when_the_machine_was_armed_does_not_keep_it_armed(server: Server) -> None:
    server.arm()
    year = 365 * 86400
    os.utime(server.layout.token(MAC), (server.now + year, server.now + year))
    assert server.pass_by(0) == []
    assert len(server.pass_by(BOUND + 5)) == 1


def test_site_sets_the_bound(server: Server) -> None:
    configuration = json.loads(server.layout.configuration.read_text())
    server.layout.configuration.write_text(json.dumps({**configuration, "arming_seconds": 90}))
    server.arm()
    assert server.pass_by(80) == []
    assert "for 2 min no run held it" in server.pass_by(15)[0]


@pytest.mark.parametrize("value", [59, 2592001, "2 hours", True, None, 1.5])
def test_bound_that_makes_no_sense_is_refused(server: Server, value: object) -> None:
    configuration = json.loads(server.layout.configuration.read_text())
    server.layout.configuration.write_text(json.dumps({**configuration, "arming_seconds": value}))
    with pytest.raises(BootError, match=r"`arming_seconds`: .* is not a whole number from 60 to 2592000"):
        server.pass_by(0)


def test_target_without_a_token_stays(server: Server) -> None:
    configuration = json.loads(server.layout.configuration.read_text())
    configuration["targets"]["own_disk"] = {"kind": "local"}
    server.layout.configuration.write_text(json.dumps(configuration))
    server.arm(target="own_disk")
    assert server.pass_by(100 * BOUND) == []


def test_trouble_with_one_machine_does_not_keep_another_armed(server: Server) -> None:
    server.arm()
    server.arm(OTHER)
    server.layout.lease(MAC).parent.mkdir(exist_ok=True)
    server.layout.lease(MAC).write_text("[")
    server.layout.hosts(MAC).unlink()
    said = server.pass_by(BOUND + 5)
    assert f"{MAC}: its arming could not be ended: " in said[0] and said[1].startswith(f"{OTHER}: its arming expired")


def test_failed_reload_is_tried_again_and_only_then_recorded(server: Server) -> None:
    server.arm()
    server.record("armed")
    server.now += BOUND + 5

    def failing() -> None:
        raise BootError("no dnsmasq")

    assert list(expire(server.layout, failing)) == [f"{MAC}: its arming could not be ended: no dnsmasq"]
    assert load_record(server.layout, MAC)["state"] == "armed"
    assert len(server.pass_by(60)) == 1
    assert load_record(server.layout, MAC)["state"] == "failed"


def test_machine_that_is_armed_anew_meanwhile_stays_armed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that arms it holds the lock while this waits for it."""
    old = server.arm()
    server.now += BOUND + 5
    renewed: list[str] = []

    class Waiting:
        def __enter__(self) -> None:
            renewed.append(str(arm(server.layout, MAC, "automation", renew=True).token))

        def __exit__(self, *_error: object) -> None:
            pass

    monkeypatch.setattr("ansible_collections.reimage.lab.plugins.module_utils.fleet.expiry.locked", lambda *_of: Waiting())
    assert list(expire(server.layout, server.forget)) == []
    now = load_arming(server.layout, MAC)
    assert now is not None and [now.token] == renewed != [old.token]
