# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which check-in is the machine's. What nginx and systemd do with it is tested for real, in the molecule scenario `boot`."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot import arrivals
from ansible_collections.reimage.lab.plugins.module_utils.boot.addresses import own_addresses
from ansible_collections.reimage.lab.plugins.module_utils.boot.arrivals import receive
from ansible_collections.reimage.lab.plugins.module_utils.boot.checkins import CheckinError
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import (
    REFUSALS,
    load_checkin,
    load_outcome,
    refuse_contested,
)
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import arm, disarm
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import Arming, load_arming
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError

from .test_checkins import MAC, checkin

OTHER = "52:54:00:77:01:02"
HERE, THERE = "10.77.1.101", "10.77.1.66"


class Network:
    """The machines of a network, as nginx leaves what they do: its log, and the files that it writes."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.said: list[str] = []

    def arm(self, mac: str = MAC, **options: Any) -> Arming:
        arm(self.layout, mac, "automation", **options)
        arming = load_arming(self.layout, mac)
        assert arming is not None
        return arming

    def fetch_script(self, address: str, mac: str = MAC, status: int = 200) -> None:
        uri = f"/boot/machines/{mac.replace(':', '-')}.ipxe"
        with (self.layout.root / "access.log").open("a") as log:
            log.write(json.dumps({"at": time.time(), "client": address, "uri": uri, "status": status}) + "\n")

    def send(self, token: str, sender: str, content: str) -> Path:
        path = self.layout.arrivals / f"{token}@{sender}@{secrets.token_hex(16)}.json"
        path.write_text(content)
        return path

    def check_in(self, arming: Arming, sender: str = HERE, **changes: Any) -> None:
        value = checkin(**{"mac": arming.mac, "macs": [arming.mac], "address": sender, **changes})
        self.send(arming.token, sender, json.dumps(value))

    def judge(self) -> None:
        self.said += receive(self.layout)

    def accepted(self, arming: Arming) -> dict[str, Any] | None:
        self.judge()
        return load_checkin(self.layout, arming)

    def reasons(self, arming: Arming) -> str:
        self.judge()
        return " | ".join(refusal.reason for refusal in load_outcome(self.layout, arming).refused)


@pytest.fixture
def network(layout: Layout) -> Network:
    return Network(layout)


def test_machine_that_fetched_its_script_is_accepted_and_moved_to_where_nginx_cannot_write(network: Network) -> None:
    arming = network.arm()
    network.fetch_script(HERE)
    network.check_in(arming)
    found = network.accepted(arming)
    assert found is not None
    assert (found["address"], found["fetched_by"]) == (HERE, [HERE])
    assert list(network.layout.arrivals.iterdir()) == []
    assert network.layout.outcome(MAC).stat().st_mode & 0o777 == 0o600
    assert arming.token not in network.layout.outcome(MAC).read_text()


def test_only_the_current_token_counts(network: Network) -> None:
    old = network.arm()
    network.fetch_script(HERE)
    network.check_in(old)
    found = network.accepted(old)
    assert found is not None and found["address"] == HERE and found["received_at"] > 0
    renewed = network.arm(renew=True)
    assert load_checkin(network.layout, renewed) is None
    network.check_in(old)
    assert network.accepted(renewed) is None
    assert network.said[-1] == f"a check-in from {HERE} was refused: its token is not open"
    assert old.token not in " ".join(network.said)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"protocol": 1}', " " * (64 << 10) + "{}"])
def test_unusable_check_in_names_the_machine_and_not_the_token(network: Network, content: str) -> None:
    arming = network.arm()
    network.fetch_script(HERE)
    network.send(arming.token, HERE, content)
    with pytest.raises(CheckinError, match=f"what {MAC} sent cannot be used") as refusal:
        network.accepted(arming)
    assert arming.token not in str(refusal.value) + " ".join(network.said)


def test_time_of_arrival_is_not_what_the_client_says(network: Network) -> None:
    """nginx gives what it writes the time of the header Date."""
    arming = network.arm()
    network.fetch_script(HERE)
    network.check_in(arming)
    (path,) = network.layout.arrivals.iterdir()
    os.utime(path, (4102444800, 4102444800))
    found = network.accepted(arming)
    assert found is not None and found["received_at"] <= time.time()


class TestSender:
    """Where a check-in must come from."""

    def test_address_that_is_not_the_senders_is_refused(self, network: Network) -> None:
        """A machine names another host, whose real host key it knows."""
        arming = network.arm()
        network.fetch_script(HERE)
        network.fetch_script(THERE)
        network.check_in(arming, sender=THERE, address=HERE)
        assert f"it says that it is at {HERE}, and came from {THERE}" in network.reasons(arming)

    def test_boot_server_itself_is_refused(self, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(arrivals, "own_addresses", lambda: frozenset(["10.77.1.2"]))
        arming = network.arm()
        network.fetch_script("10.77.1.2")
        network.check_in(arming, sender="10.77.1.2")
        assert "10.77.1.2 is an address of this boot server" in network.reasons(arming)

    def test_own_addresses_are_those_of_this_computer(self) -> None:
        assert "127.0.0.1" in own_addresses()

    def test_subnet_that_is_not_configured_is_refused_with_what_to_do(self, network: Network) -> None:
        arming = network.arm()
        network.fetch_script("10.99.0.7")
        network.check_in(arming, sender="10.99.0.7")
        assert "10.99.0.7 is in no subnet that machines boot in (10.77.1.0/24, 10.77.2.0/24)" in network.reasons(arming)
        assert "proxy_dhcp_subnets" in network.reasons(arming)

    def test_token_is_no_use_before_somebody_has_fetched_the_script(self, network: Network) -> None:
        """Nor is a fetch from before arming, one that failed, or that of another machine's script."""
        network.fetch_script(HERE)
        time.sleep(0.002)
        arming = network.arm()
        network.fetch_script(HERE, status=404)
        network.fetch_script(HERE, mac=OTHER)
        network.check_in(arming)
        assert "nobody has fetched its boot script since it was armed" in network.reasons(arming)

    def test_other_address_than_the_loaders_is_accepted_in_the_subnet_and_told(self, network: Network) -> None:
        arming = network.arm()
        network.fetch_script("10.77.2.200")
        network.check_in(arming)
        found = network.accepted(arming)
        assert found is not None
        assert found["fetched_by"] == ["10.77.2.200"]

    def test_address_of_another_machine_in_automation_is_refused(self, network: Network) -> None:
        first, second = network.arm(), network.arm(OTHER)
        network.fetch_script(HERE)
        network.fetch_script(HERE, mac=OTHER)
        network.check_in(first)
        network.judge()
        network.check_in(second)
        assert f"{HERE} is the address of {MAC}, which is in automation" in network.reasons(second)
        disarm(network.layout, MAC, lambda: None)
        network.check_in(second)
        assert network.accepted(second) is not None

    def test_other_build_of_automation_is_refused(self, network: Network) -> None:
        (network.layout.http / "automation/build.json").write_text('{"id": "0123456789abcdef"}')
        arming = network.arm()
        network.fetch_script(HERE)
        network.check_in(arming)
        assert "it runs build '20261121' of automation, and this boot server serves '0123456789abcdef'" in network.reasons(arming)


class TestSecondCheckin:
    """One check-in a token."""

    @pytest.fixture
    def accepted(self, network: Network) -> Arming:
        arming = network.arm()
        network.fetch_script(HERE)
        network.check_in(arming)
        assert network.accepted(arming) is not None
        return arming

    def test_same_one_again_is_ignored(self, network: Network, accepted: Arming) -> None:
        network.check_in(accepted)
        found = network.accepted(accepted)
        assert found is not None and load_outcome(network.layout, accepted).refused == ()
        assert network.said[-1] == f"{MAC}: the check-in from {HERE} came again"

    @pytest.mark.parametrize("changes", [{"sender": THERE}, {"serial": "other"}, {"protocol": 9}, {"address": THERE}])
    def test_different_one_ends_every_later_look_with_an_alarm(
        self, network: Network, accepted: Arming, changes: dict[str, Any]
    ) -> None:
        refuse_contested(network.layout, MAC)
        network.check_in(accepted, **changes)
        with pytest.raises(CheckinError) as alarm:
            network.accepted(accepted)
        said = str(alarm.value)
        assert said.startswith(f"two machines have checked in as {MAC}: one from {HERE}, at ")
        assert f"another from {changes.get('sender', HERE)}, at " in said and "run the playbook again" in said
        with pytest.raises(CheckinError, match="two machines have checked in"):
            refuse_contested(network.layout, MAC)
        network.check_in(accepted)  # the first one does not win by trying again
        with pytest.raises(CheckinError, match="two machines have checked in"):
            network.accepted(accepted)

    def test_neither_wins_where_both_arrive_before_anybody_looks(self, network: Network) -> None:
        arming = network.arm()
        network.fetch_script(HERE)
        network.fetch_script(THERE)
        network.check_in(arming, sender=THERE)
        time.sleep(0.02)  # a tick of the kernel's clock
        network.check_in(arming, sender=HERE)
        with pytest.raises(CheckinError, match=f"one from {THERE}, .* another from {HERE}"):
            network.accepted(arming)

    def test_new_token_ends_the_alarm(self, network: Network, accepted: Arming) -> None:
        network.check_in(accepted, sender=THERE)
        network.judge()
        renewed = network.arm(renew=True)
        network.fetch_script(HERE)
        network.check_in(renewed)
        assert network.accepted(renewed) is not None
        refuse_contested(network.layout, MAC)


def test_refusals_of_others_do_not_end_the_wait_of_the_machine(network: Network) -> None:
    arming = network.arm()
    network.fetch_script(HERE)
    network.check_in(arming, sender=THERE, address=HERE)
    assert network.accepted(arming) is None
    network.check_in(arming)
    assert network.accepted(arming) is not None


def test_record_of_refusals_is_bounded(network: Network) -> None:
    arming = network.arm()
    network.fetch_script(HERE)
    for number in range(3 * REFUSALS):
        network.check_in(arming, sender=THERE, address=f"10.77.1.{100 + number}")
    network.judge()
    refused = load_outcome(network.layout, arming).refused
    assert len(refused) == REFUSALS
    assert refused[-1].at >= refused[0].at
    assert network.layout.outcome(MAC).stat().st_size < 8 << 10


def test_damaged_record_of_one_machine_does_not_keep_others_out(network: Network) -> None:
    arming = network.arm()
    network.arm(OTHER)
    network.layout.token(OTHER).write_text("{")
    network.fetch_script(HERE)
    network.check_in(arming)
    assert network.accepted(arming) is not None


def test_damaged_outcome_is_named(network: Network) -> None:
    arming = network.arm()
    network.layout.outcome(MAC).write_text(json.dumps({"armed_at": arming.armed_at, "refused": 1}))
    network.check_in(arming)
    with pytest.raises(ReimageError, match=r"outcomes/52-54-00-77-01-01\.json: is damaged"):
        network.accepted(arming)
    assert list(network.layout.arrivals.iterdir()) == []


def test_what_cannot_be_recorded_waits(network: Network) -> None:
    """On a full disk a check-in is not lost."""
    arming = network.arm()
    network.fetch_script(HERE)
    network.check_in(arming)
    network.layout.outcome(MAC).parent.rename(network.layout.root / "gone")
    with pytest.raises(ReimageError, match="cannot be written"):
        network.judge()
    (network.layout.root / "gone").rename(network.layout.outcome(MAC).parent)
    assert network.accepted(arming) is not None


def test_what_is_no_check_in_is_cleared_away(network: Network) -> None:
    folder = network.layout.arrivals
    (folder / "x.json").touch()
    (folder / "link.json").symlink_to("/etc/shadow")
    (folder / f"{'0' * 32}@300.1.1.1@{'0' * 32}.json").touch()
    (folder / ".hidden").touch()
    network.judge()
    assert list(folder.iterdir()) == []
