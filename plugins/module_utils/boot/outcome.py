# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of a machine's check-ins: the one that was accepted, those that were refused, and whether two claim to be it.

C(arrivals) writes it, as root, where the web server cannot.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.boot.checkins import CheckinError
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.files import arrived_at, read_json, write_json
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import Arming, load_arming

REFUSALS = 10  # as many are kept, the newest
_REASON_LIMIT = 400


@dataclass(frozen=True)
class Refusal:
    """A check-in that was not accepted.

    C(at) is when it arrived, in seconds since the epoch; C(by_machine), whether its sender had fetched the machine's boot script.
    """

    at: float
    sender: str
    reason: str
    by_machine: bool


@dataclass(frozen=True)
class Outcome:
    """What became of the check-ins with one token; C(rival) came after the accepted one and differs from it."""

    armed_at: float
    checkin: dict[str, Any] | None = None
    rival: Refusal | None = None
    refused: tuple[Refusal, ...] = ()

    def refuse(self, refusal: Refusal) -> Outcome:
        """Return this with one refusal more."""
        short = replace(refusal, reason=refusal.reason[:_REASON_LIMIT])
        rival = self.rival or (short if self.checkin is not None else None)
        return replace(self, refused=(*self.refused, short)[-REFUSALS:], rival=rival)


def load_outcome(layout: Layout, arming: Arming) -> Outcome:
    """Return what became of the check-ins with a machine's current token so far."""
    path = layout.outcome(arming.mac)
    value = read_json(path)
    if value is None or value.get("armed_at") != arming.armed_at:  # of an earlier token
        return Outcome(arming.armed_at)
    try:
        rival = Refusal(**value["rival"]) if value["rival"] is not None else None
        return Outcome(arming.armed_at, value["checkin"], rival, tuple(Refusal(**entry) for entry in value["refused"]))
    except (KeyError, TypeError) as error:
        raise BootError(f"{path}: is damaged: arm the machine again") from error


def save_outcome(layout: Layout, mac: str, outcome: Outcome) -> None:
    """Write it, for root's eyes only."""
    write_json(layout.outcome(mac), asdict(outcome), mode=0o600)


def load_checkin(layout: Layout, arming: Arming) -> dict[str, Any] | None:
    """Return the check-in that was accepted with a machine's current token, or None if none was so far.

    What it holds beyond what the machine said: C(received_at), in seconds since the epoch by the boot server's clock;
    C(fetched_by), the addresses that fetched the machine's boot script; and C(challenge), as C(challenge()) returns it.

    :raises CheckinError: The machine sent something that cannot be used, or two say that they are this machine.
    """
    outcome = load_outcome(layout, arming)
    if outcome.checkin is not None:
        if outcome.rival is not None:
            raise CheckinError(_contested(arming.mac, outcome.checkin, outcome.rival))
        return {**outcome.checkin, "challenge": challenge(arming)}
    own = [refusal for refusal in outcome.refused if refusal.by_machine]
    if own:
        raise CheckinError(f"what {arming.mac} sent cannot be used: {own[-1].reason} (it came from {own[-1].sender})")
    return None


def heard_at(layout: Layout, arming: Arming) -> float | None:
    """Return when the machine whose check-in was accepted last told of its progress, in seconds since the epoch; or None."""
    checkin = load_outcome(layout, arming).checkin
    try:
        return None if checkin is None else arrived_at(layout.progress(arming.token, checkin["address"]))
    except OSError:
        return None


def refuse_contested(layout: Layout, mac: str) -> None:
    """Raise C(CheckinError) if two say that they are this machine, so that a run that goes on ends with the alarm."""
    arming = load_arming(layout, mac)
    if arming is not None and load_outcome(layout, arming).rival is not None:
        load_checkin(layout, arming)


def challenge(arming: Arming) -> dict[str, str]:
    """Return a C(nonce), and the C(answer) that only who knows the token can give: SHA-256 of the nonce and then the token."""
    nonce = secrets.token_hex(16)
    return {"nonce": nonce, "answer": hashlib.sha256(f"{nonce}{arming.token}".encode()).hexdigest()}


def _contested(mac: str, first: dict[str, Any], second: Refusal) -> str:
    return (
        f"two machines have checked in as {mac}: one from {first['address']}, at {_clock(first['received_at'])}, and another from"
        f" {second.sender}, at {_clock(second.at)}. One of them has read the other's token, or the machine has started again"
        " meanwhile. Find out which one is yours, take the other off the network, and run the playbook again: that arms the"
        " machine with a new token"
    )


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))
