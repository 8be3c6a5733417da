# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a machine's network boot stopped, and what to do: an ordered table, of which the first row that holds is the answer.

The rows go backwards, from a machine in automation to one of which nothing is known, so that what a machine reached counts, and
not what it may have tried before. docs/network.md has the same table, which a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from ansible_collections.reimage.lab.plugins.module_utils.boot.observed import CHECKIN, SCRIPTS, Seen
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import Outcome
from ansible_collections.reimage.lab.plugins.module_utils.boot.trail import Request
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import printable

PATIENCE = 20.0  # seconds in which a loader does the next thing
KERNEL_PATIENCE = 120.0  # and in which a kernel that was fetched checks in
_CLOCK_IS_WRONG = 86400.0
_LONGEST_DETAIL = 400
_ELSEWHERE = "it says that it is at "


@dataclass(frozen=True)
class Stage:
    """A place where a boot may have stopped: its name, what is seen then, and what to do about it.

    C(detail) adds what was seen of this machine.
    """

    name: str
    symptom: str
    remedy: str
    holds: Callable[[Seen, float], bool]
    detail: Callable[[Seen], str] = lambda _seen: ""


@dataclass(frozen=True)
class Verdict:
    """The stage of a machine, and one sentence that says it."""

    stage: str
    sentence: str


def diagnose(machine: str, seen: Seen, now: float) -> Verdict:
    """Return where the boot of a machine stopped.

    :param machine: What to call it.
    :param now: The time until which it was watched, in seconds since the epoch by the boot server's clock.
    """
    stage = next(stage for stage in STAGES if stage.holds(seen, now))
    detail = printable(stage.detail(seen), _LONGEST_DETAIL)  # it holds names that the machine chose
    shown = f" ({detail})" if detail else ""
    return Verdict(stage.name, f"{machine}: {stage.symptom}{shown}: {stage.remedy}.")


def _outcome(seen: Seen) -> Outcome:
    return seen.server.outcome or Outcome(0.0)


def _refusal(seen: Seen) -> str:
    refused = _outcome(seen).refused
    return refused[-1].reason if refused else ""


def _checked_in(seen: Seen, _now: float) -> bool:
    return _outcome(seen).checkin is not None


def _quiet(seen: Seen, now: float, patience: float = PATIENCE) -> bool:
    return now - seen.last >= patience


def _at(seen: Seen) -> str:
    return ", ".join(sorted(seen.addresses))


def _voided(seen: Seen) -> list[Request]:
    """Return the check-ins whose token was not open."""
    return seen.fetched(lambda uri: uri.startswith(CHECKIN), (404,))


def _whole(seen: Seen) -> bool:
    target = seen.server.target
    return target is not None and bool(target.files) and len(seen.target_files) == len(target.files)


STAGES = (
    Stage(
        "two_machines",
        "two machines have checked in as this one",
        "find out which one is yours, take the other off the network, and run the playbook again",
        lambda seen, now: _checked_in(seen, now) and _outcome(seen).rival is not None,
        lambda seen: f"the other is at {_outcome(seen).rival.sender}",  # type: ignore[union-attr]
    ),
    Stage(
        "wrong_clock",
        "it is in automation, and its clock is wrong",
        "set the clock in the settings of its firmware, and replace the battery of a PC that forgets it: certificates have dates",
        lambda seen, now: _checked_in(seen, now) and abs(_outcome(seen).checkin.get("clock_off") or 0) > _CLOCK_IS_WRONG,  # type: ignore[union-attr]
        lambda seen: f"by {abs(_outcome(seen).checkin['clock_off']) / 86400:.0f} days",  # type: ignore[index]
    ),
    Stage(
        "in_automation",
        "it is in automation",
        "its network boot is well; its record says what became of the work",
        _checked_in,
        lambda seen: f"at {_outcome(seen).checkin['address']}",  # type: ignore[index]
    ),
    Stage(
        "server_clock",
        "it was armed at a time that is still to come by the boot server's clock",
        "set the clock of the boot server, and run the playbook again, which arms the machine anew",
        lambda seen, _now: seen.server.clock_off > 0,
        lambda seen: f"in {seen.server.clock_off:.0f} s",
    ),
    Stage(
        "another_address",
        "its check-in came from another address than it names",
        "take away what translates addresses between its network and the boot server",
        lambda seen, _now: _refusal(seen).startswith(_ELSEWHERE),
        _refusal,
    ),
    Stage(
        "checkin_refused",
        "its check-in was refused",
        "do what the reason says, then run the playbook again",
        lambda seen, _now: bool(_refusal(seen)),
        _refusal,
    ),
    Stage(
        "checkin_waits",
        "a check-in has arrived, and nothing has looked at it",
        "start it on the boot server: systemctl restart reimage-checkin.path",
        lambda seen, _now: seen.server.waiting > 0,
        lambda seen: f"{seen.server.waiting} wait",
    ),
    Stage(
        "token_void",
        "it has started automation with a token that is not open any more",
        "it was disarmed, or its arming expired, while it started, so it goes on to its own disk; run the playbook again",
        lambda seen, _now: bool(_voided(seen)) and _voided(seen)[-1].at >= max((one.at for one in seen.script), default=0.0),
        _at,
    ),
    Stage(
        "on_its_way",
        "it is on its way",
        "wait, and ask again",
        lambda seen, now: (
            seen.last > 0 and seen.server.armed and not _quiet(seen, now, KERNEL_PATIENCE if _whole(seen) else PATIENCE)
        ),
        _at,
    ),
    Stage(
        "no_checkin",
        "it has fetched its kernel and initramfs, and has not checked in",
        "look at its screen: automation has no driver for its network card, gets no address, or did not start",
        lambda seen, _now: _whole(seen),
        lambda seen: ", ".join(seen.target_files),
    ),
    Stage(
        "file_cut",
        "it has begun to fetch a file by HTTP, and has not got it whole",
        "look at its screen: the PC stopped reading, as one does that has too little memory, or its network broke off",
        lambda seen, _now: bool(seen.cut_files),
        lambda seen: ", ".join(seen.cut_files),
    ),
    Stage(
        "kernel_refused",
        "it has fetched its kernel, and not the initramfs",
        "look at its screen: Secure Boot starts a kernel only if it is signed, and a PC needs memory for both",
        lambda seen, _now: bool(seen.target_files),
        lambda seen: ", ".join(seen.target_files),
    ),
    Stage(
        "file_missing",
        "the boot server does not have a file that it asks for",
        "set the boot server up again with reimage.lab.setup_server",
        lambda seen, _now: bool(seen.missing),
        lambda seen: ", ".join(dict.fromkeys(seen.missing)),
    ),
    Stage(
        "no_kernel",
        "it has its boot script, and does not fetch a kernel",
        "look at its screen, and let HTTP through as a whole between its network and the boot server",
        lambda seen, _now: bool(seen.script),
        _at,
    ),
    Stage(
        "no_script",
        "its loader runs and finds no boot script",
        "it is not armed, or with another MAC address than that of the card it boots from: compare it with the manifest",
        lambda seen, _now: bool(seen.fetched(lambda uri: uri.startswith(SCRIPTS) or uri == "/boot/boot.ipxe", (200, 404))),
        _at,
    ),
    Stage(
        "http_blocked",
        "its loader runs, and none of its requests by HTTP arrives",
        "let TCP 80, or boot_server_port, through from its network to the boot server",
        lambda seen, _now: seen.loader_runs and bool(seen.addresses) and not (seen.requests or seen.others),
        lambda seen: ", ".join(seen.loaders),
    ),
    Stage(
        "loader_refused",
        "its firmware has fetched the loader, and the loader does nothing",
        "Secure Boot refuses a loader that is not signed: set the boot server up again, which serves Debian's signed one, or see"
        " docs/secure-boot.md",
        lambda seen, _now: bool(seen.loaders) and seen.uefi,
        lambda seen: ", ".join(seen.loaders),
    ),
    Stage(
        "loader_silent",
        "it has fetched the loader, and the loader does nothing",
        "the loader does not get along with this PC: try another one, proxy_dhcp_loader_bios",
        lambda seen, _now: bool(seen.loaders),
        lambda seen: ", ".join(seen.loaders),
    ),
    Stage(
        "tftp_cut",
        "it asks for its loader by TFTP, and does not get it whole",
        "let UDP through between its network and the boot server from port 69 and from the high ports that TFTP answers from",
        lambda seen, _now: bool(seen.asked_tftp or seen.tftp),
        lambda seen: ", ".join(dict.fromkeys([*seen.asked_tftp, *(sent.file for sent in seen.tftp)])),
    ),
    Stage(
        "other_server",
        "another server answers its network boot",
        "there must be one only: take the boot options (66, 67, PXE) from that one, or leave the machine to it",
        lambda seen, _now: bool(seen.others) and not (seen.ignored > seen.answered and not seen.server.armed),
        lambda seen: ", ".join(sorted(seen.others)),
    ),
    Stage(
        "tftp_blocked",
        "it was told its loader, and its request by TFTP does not arrive",
        "let UDP 69 through from its network to the boot server; or a boot server that this one does not see has it",
        lambda seen, _now: seen.told_loader > 0,
        _at,
    ),
    Stage(
        "offer_not_taken",
        "it was answered, and has not come back",
        "its DHCP server gives no address, UDP 4011 or TCP 80 is blocked, or a boot server that this one does not see has it",
        lambda seen, _now: seen.answered > 0 and seen.answered >= seen.ignored,
    ),
    Stage(
        "unanswered",
        "it is armed and asks for a network boot, and dnsmasq does not answer",
        "see on the boot server what systemctl status dnsmasq says, and whether its subnet is in proxy_dhcp_subnets",
        lambda seen, _now: seen.server.armed and seen.asked_boot > 0 and seen.ignored < seen.asked_boot,
    ),
    Stage(
        "expired",
        "its arming has expired, so that it starts its own disk",
        "run the playbook again; boot_server_arming_seconds says how long an arming lasts without a sign of work",
        lambda seen, _now: seen.server.expired and not seen.server.armed,
    ),
    Stage(
        "not_armed",
        "it asks for a network boot, and is not armed",
        "it starts its own disk, as it should; to reimage it, run the playbook, and compare its MAC address with the manifest",
        lambda seen, _now: seen.asked_boot > 0,
    ),
    Stage(
        "no_network_boot",
        "it asks for an address, and not for a network boot",
        "put the network before the disk in the boot order of its firmware, and switch its network boot (PXE) on",
        lambda seen, _now: seen.asked_dhcp > 0,
    ),
    Stage(
        "silent",
        "nothing of it has arrived",
        "see that it is switched on and wired, has this MAC address, and that its network's DHCP relay names this boot server",
        lambda _seen, _now: True,
    ),
)
