# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who works on a machine: one lease a machine on the boot server, so that no two runs write to one disk.

A lease ends at a time of the boot server's clock. Its run renews it by taking it again; the machine renews it by every
sign of progress that it sends, for its work may go on when the controller is gone. A run that ended without giving its
lease back is succeeded at once by one with the same purpose, which goes on watching that work; any other run waits until
both the lease and the progress are old.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.boot.files import read_json, write_json
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import heard_at
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import load_arming
from ansible_collections.reimage.lab.plugins.module_utils.fleet.errors import FleetError

SECONDS = 300
LONGEST = 86400


@dataclass(frozen=True)
class Lease:
    """A machine's lease: the id of the run that has it, who that is and what for, in words, and how long.

    C(taken_at) and C(expires_at) are in seconds since the epoch, by the boot server's clock. Every sign of progress counts as
    if the lease had been taken again then for I(seconds).
    """

    mac: str
    run: str
    holder: str
    purpose: str
    seconds: float
    taken_at: float
    expires_at: float


@dataclass(frozen=True)
class Claim:
    """A run that wants a lease; I(ended) is the id of a run of which it knows that it has ended, or empty."""

    run: str
    holder: str = ""
    purpose: str = ""
    seconds: float = SECONDS
    ended: str = ""


NOBODY = Claim("")


class HeldError(FleetError):
    """Another run has the machine: I(lease) is that run's."""

    def __init__(self, message: str, lease: Lease) -> None:
        super().__init__(message)
        self.lease = lease


@contextmanager
def locked(layout: Layout, mac: str) -> Iterator[None]:
    """Keep all other processes from reading and changing a machine's lease and record at the same time.

    :raises FleetError: The folder of the leases cannot be written to.
    """
    path = layout.lease(mac).with_suffix(".lock")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise FleetError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def load_lease(layout: Layout, mac: str) -> Lease | None:
    """Return the lease that was taken last and not given back, which may be over; or None."""
    path = layout.lease(mac)
    value = read_json(path)
    if value is None:
        return None
    try:
        run, holder, purpose = (str(value[name]) for name in ("run", "holder", "purpose"))
        seconds, taken_at, expires_at = (float(value[name]) for name in ("seconds", "taken_at", "expires_at"))
    except (KeyError, TypeError, ValueError) as error:
        raise FleetError(f"{path}: is damaged: see that nobody works on the machine, then remove it") from error
    return Lease(mac, run, holder, purpose, seconds, taken_at, expires_at)


def held(layout: Layout, mac: str) -> Lease | None:
    """Return the lease of the run that has a machine now, or None."""
    lease = load_lease(layout, mac)
    return lease if lease and _ends(layout, lease) > time.time() else None


def take(layout: Layout, mac: str, claim: Claim, *, dry_run: bool = False) -> Lease:
    """Take or renew a machine's lease. Call this within C(locked).

    :param dry_run: Only find out whether it could be taken.
    :raises HeldError: Another run has it.
    """
    if not claim.run:
        raise FleetError(f"{mac}: a lease needs the id of the run that takes it")
    refuse_if_held(layout, mac, claim)
    now = time.time()
    seconds = min(max(claim.seconds, 1.0), LONGEST)
    taken = Lease(mac, claim.run, claim.holder, claim.purpose, seconds, round(now, 3), round(now + seconds, 3))
    if not dry_run:
        write_json(layout.lease(mac), asdict(taken), mode=0o600)
    return taken


def give_back(layout: Layout, mac: str) -> None:
    """Give back a lease that was taken. Call this within C(locked)."""
    layout.lease(mac).unlink(missing_ok=True)


def refuse_if_held(layout: Layout, mac: str, claim: Claim = NOBODY) -> None:
    """Raise unless nobody has a machine, or the run has that claims it, or that run may have it next.

    :raises HeldError: Another run has it.
    """
    lease, now = load_lease(layout, mac), time.time()
    if lease is None or lease.run == claim.run:
        return
    heard = _heard_at(layout, mac)
    works = heard is not None and heard + lease.seconds > now
    if claim.ended == lease.run and (lease.purpose == claim.purpose or not works):
        return
    ends = _ends(layout, lease)
    if ends <= now:
        return
    who = f"{mac} is held by {lease.holder or lease.run} to {lease.purpose or 'work on it'}"
    until = time.strftime("%H:%M:%S", time.gmtime(ends)) + " UTC by the boot server's clock"
    if claim.ended == lease.run:
        why = f"that run has ended, but the machine itself reported progress {now - (heard or now):.0f} s ago"
    else:
        why = "let that run end, or wait until its lease has ended"
    raise HeldError(f"{who}, until {until}: {why}", lease)


def _ends(layout: Layout, lease: Lease) -> float:
    heard = _heard_at(layout, lease.mac)
    return lease.expires_at if heard is None else max(lease.expires_at, heard + lease.seconds)


def _heard_at(layout: Layout, mac: str) -> float | None:
    """Return when the machine last reported progress, by this server's clock."""
    arming = load_arming(layout, mac)
    return None if arming is None else heard_at(layout, arming)
