# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where boots stopped, decided on what was really captured and logged: boots/ holds PCs of tests/integration/boot/boots.py.

What only check-ins show is tested with the real web server, in tests/integration/boot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import Configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.diagnosis import STAGES, Verdict, diagnose
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.journal import Journal, Sent, parse_journal
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.registry import read_target
from ansible_collections.reimage.lab.plugins.module_utils.boot.observed import Seen, Server, observe
from ansible_collections.reimage.lab.plugins.module_utils.boot.packets import Capture, Dhcp, read_capture
from ansible_collections.reimage.lab.plugins.module_utils.boot.trail import Request, all_requests

ROOT = Path(__file__).resolve().parents[5]
BOOTS = Path(__file__).with_name("boots")
OURS = frozenset({"10.79.1.2"})
TARGET = read_target("automation", {"kernel": "probe/ipxe.lkrn", "initrd": "probe/initrd"}, "test")
BROKEN = read_target("broken", {"kernel": "probe/gone", "initrd": "probe/initrd"}, "test")


@dataclass
class Recorded:
    """What was recorded of all PCs."""

    capture: Capture
    journal: Journal
    requests: list[Request]

    def seen(self, number: int, *, armed: bool, until: float = 1e12, **server: object) -> Seen:
        """Return what the boot server would know of a PC at some time."""
        mac = f"52:54:00:79:00:{number:02x}"
        scripts = frozenset({f"{mac.replace(':', '-')}.ipxe"})
        described = Server(OURS, scripts, armed=armed, target=TARGET if armed else None)
        capture = Capture(*([item for item in part if item.at <= until] for part in self._parts()))  # type: ignore[attr-defined, arg-type]
        asked, sent = ([item for item in part if item.at <= until] for part in (self.journal.asked, self.journal.sent))
        journal = Journal(asked, sent)  # type: ignore[arg-type]
        requests = [request for request in self.requests if request.at <= until]
        return observe([mac], replace(described, **server), capture, journal, requests)  # type: ignore[arg-type]

    def _parts(self) -> list[list[object]]:
        return [list(self.capture.dhcp), list(self.capture.tftp), list(self.capture.knocks)]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    log = Configuration("http://10.79.1.2", {}, str(BOOTS / "requests"))
    journal = parse_journal((BOOTS / "journal").read_text().splitlines())
    return Recorded(read_capture((BOOTS / "capture.pcap").read_bytes()), journal, list(all_requests(log, 0)))


def verdict(seen: Seen, later: float = 300) -> Verdict:
    last = max(seen.last, seen.asked_boot, seen.asked_dhcp)
    return diagnose("pc", seen, last + later)


@pytest.mark.parametrize(
    ("number", "stage", "detail"),
    [
        (2, "no_checkin", "probe/ipxe.lkrn, probe/initrd"),
        (3, "no_script", "10.79.1."),
        (5, "offer_not_taken", ""),
        (6, "other_server", "10.79.1.4"),
        (8, "kernel_refused", "probe/ipxe.lkrn"),
        (9, "loader_refused", "snponly.efi"),
        (12, "http_blocked", ""),
        (14, "unanswered", ""),
    ],
)
def test_armed_pc_is_told_where_it_stopped(recorded: Recorded, number: int, stage: str, detail: str) -> None:
    found = verdict(recorded.seen(number, armed=True))
    assert found.stage == stage
    assert detail in found.sentence
    assert re.fullmatch(r"pc: .+: .+\.", found.sentence)


@pytest.mark.parametrize(("number", "stage"), [(10, "tftp_blocked"), (11, "tftp_cut")])
def test_pc_that_cannot_load_by_tftp_is_told_so_until_its_firmware_goes_on_by_http(
    recorded: Recorded, number: int, stage: str
) -> None:
    """dnsmasq says in its journal that the file of the second was sent."""
    by_http = min(request.at for request in recorded.seen(number, armed=True).requests)
    assert verdict(recorded.seen(number, armed=True, until=by_http - 7)).stage == stage
    assert verdict(recorded.seen(number, armed=True)).stage == "kernel_refused"


@pytest.mark.parametrize(("number", "stage"), [(1, "not_armed"), (7, "not_armed"), (13, "no_network_boot"), (15, "silent")])
def test_pc_that_nobody_armed_is_followed_too(recorded: Recorded, number: int, stage: str) -> None:
    assert verdict(recorded.seen(number, armed=False)).stage == stage


def test_file_that_the_server_does_not_have_is_named(recorded: Recorded) -> None:
    found = verdict(recorded.seen(4, armed=True, target=BROKEN))
    assert (found.stage, "(gone)" in found.sentence) == ("file_missing", True)


def test_expired_arming_is_told_whatever_else_was_seen(recorded: Recorded) -> None:
    for number in (1, 15):
        assert verdict(recorded.seen(number, armed=False, expired=True)).stage == "expired"


def test_boot_that_goes_on_is_not_called_stopped(recorded: Recorded) -> None:
    seen = recorded.seen(2, armed=True)
    assert [verdict(seen, later).stage for later in (5, 119, 121)] == ["on_its_way", "on_its_way", "no_checkin"]


def test_boot_is_followed_step_by_step(recorded: Recorded) -> None:
    """A UEFI PC, cut off after each thing that it did."""
    whole = recorded.seen(8, armed=True)
    times = sorted([*(sent.at for sent in whole.tftp), *(request.at for request in whole.requests)])
    stages = [verdict(recorded.seen(8, armed=True, until=at - 1)).stage for at in times]
    stages += [verdict(recorded.seen(8, armed=True, until=request.at)).stage for request in whole.script]
    assert {"tftp_cut", "no_kernel"} & set(stages)
    order = [stage.name for stage in STAGES]
    places = [order.index(stage) for stage in dict.fromkeys(stages)]
    assert places == sorted(places, reverse=True)


def test_loader_of_a_bios_that_does_nothing_is_not_laid_on_secure_boot() -> None:
    seen = Seen(Server(OURS, frozenset(), armed=True), answered=1.0, addresses={"10.79.1.110"})
    seen.tftp = [Sent(2.0, "10.79.1.110", "undionly.kpxe", "sent")]
    assert verdict(seen).stage == "loader_silent"


def test_shim_and_grub_are_followed_as_ipxe_is() -> None:
    """A PC with Secure Boot, whose GRUB took half a minute to load, and stopped reading the initramfs."""
    log = Configuration("http://10.77.1.2", {}, str(BOOTS / "grub-requests"))
    whole = Recorded(Capture(), parse_journal((BOOTS / "grub-journal").read_text().splitlines()), list(all_requests(log, 0)))
    target = read_target("automation", {"kernel": "automation/vmlinuz", "initrd": "automation/initrd.img"}, "test")
    mac, sizes = "52:54:00:77:01:02", {"automation/vmlinuz": 8222656, "automation/initrd.img": 60625956}
    server = Server(frozenset({"10.77.1.2"}), frozenset({f"{mac}.grub"}), armed=True, target=target, sizes=sizes)

    def stage(files: int, requests: int) -> tuple[str, list[str]]:
        journal = Journal(whole.journal.asked, whole.journal.sent[:files])
        capture = Capture([Dhcp(1.0, "0.0.0.0", mac, "request", True, True, "", "10.77.1.102")])
        seen = observe([mac], server, capture, journal, whole.requests[:requests])
        return verdict(seen).stage, seen.loaders

    assert stage(2, 0) == ("loader_refused", ["shimx64.efi"])
    assert stage(99, 0) == ("http_blocked", ["shimx64.efi", "grubx64.efi", "grub.cfg"])
    assert [stage(99, requests)[0] for requests in (1, 2, 3)] == ["no_kernel", "kernel_refused", "file_cut"]


def test_clock_of_the_server_that_went_back_is_told(recorded: Recorded) -> None:
    found = verdict(recorded.seen(2, armed=True, clock_off=3600.0))
    assert (found.stage, "in 3600 s" in found.sentence) == ("server_clock", True)


def test_stages_end_with_one_that_always_holds() -> None:
    names = [stage.name for stage in STAGES]
    assert len(names) == len(set(names))
    assert STAGES[-1].holds(Seen(Server(OURS, frozenset())), 0.0)


def test_documentation_has_the_table_and_the_picture_its_names() -> None:
    text = (ROOT / "docs/network.md").read_text()
    rows = [f"| `{stage.name}` | {stage.symptom} | {stage.remedy} |" for stage in reversed(STAGES)]
    table = text.partition("| answer | what is seen | what to do |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == rows
    picture = (ROOT / "docs/images/network-boot.svg").read_text()
    assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", picture)) >= {stage.name for stage in STAGES} - {"on_its_way"}


class TestWhatAnybodyMaySend:
    """A capture and a journal hold what strangers sent."""

    def test_capture_that_is_none_is_refused(self) -> None:
        for data in (b"", b"GIF89a" + b"\0" * 40, b"\xd4\xc3\xb2\xa1" + b"\0" * 16 + b"\x7f\0\0\0"):
            with pytest.raises(BootError, match="tcpdump wrote"):
                read_capture(data.ljust(24, b"\0"))

    def test_every_cut_and_every_flipped_byte_is_survived(self) -> None:
        data = (BOOTS / "capture.pcap").read_bytes()[:4000]
        for end in range(24, len(data), 7):
            read_capture(data[:end])
        for place in range(24, len(data)):
            read_capture(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])

    def test_sentence_is_short_and_on_one_line_whatever_a_machine_asks_for(self) -> None:
        address = "10.79.1.110"
        seen = Seen(Server(OURS, frozenset(), armed=True), addresses={address})
        seen.requests = [Request(1.0, address, f"/boot/{number}\n\x1b[2J{'x' * 3000}", 404) for number in range(100)]
        found = verdict(seen)
        assert found.stage == "file_missing" and found.sentence.isprintable() and len(found.sentence) < 1000

    def test_machine_cannot_write_a_line_of_dnsmasq(self) -> None:
        forged = "PXE(eth0) 52:54:00:79:00:0f proxy"
        lines = [
            f"1795848307.000000 server dnsmasq-dhcp[1]: 1 vendor class: {forged}",
            f"1795848307.000000 server dnsmasq-dhcp[1]: 1 client provides name: {forged}",
            f"1795848307.000000 server sshd[1]: 1 {forged}",
            f"dnsmasq-dhcp[1]: 1 {forged}",
            "x" * 5000,
        ]
        assert parse_journal(lines) == Journal()
