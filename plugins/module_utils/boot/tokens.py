# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens: each arming makes one, and it opens one folder for the machine until it is disarmed, or the arming expires."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.files import read_json, write_json
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.mac import parse_mac

MASK = "********"
_CLOCKS_DIFFER = 60  # seconds
_TOKEN = re.compile(r"[0-9a-f]{32}")
_IN_A_TEXT = re.compile(rf"\b{_TOKEN.pattern}\b")


@dataclass(frozen=True)
class Arming:
    """A machine's token and what it was armed for.

    C(armed_at) is in seconds since the epoch, by the boot server's clock; C(others) are the MACs of the machine's other cards.
    """

    mac: str
    target: str
    token: str
    armed_at: float
    others: tuple[str, ...] = ()

    @property
    def macs(self) -> tuple[str, ...]:
        """All cards that the machine may boot from."""
        return (self.mac, *self.others)


def new_arming(mac: str, target: str, others: Sequence[str] = ()) -> Arming:
    """Make a token of 128 random bits; nothing is written yet."""
    return Arming(mac, target, secrets.token_hex(16), round(time.time(), 3), tuple(others))


def mask_tokens(text: str) -> str:
    """Return a text in which whatever may be a token is masked."""
    return _IN_A_TEXT.sub(MASK, text)


def load_arming(layout: Layout, mac: str) -> Arming | None:
    """Return what a machine is armed for, or None."""
    path = layout.token(mac)
    value = read_json(path)
    if value is None:
        return None
    try:
        others = tuple(parse_mac(other) for other in value.get("others", []))
        arming = Arming(str(value["mac"]), str(value["target"]), str(value["token"]), float(value["armed_at"]), others)
    except (ReimageError, KeyError, TypeError, ValueError) as error:
        raise BootError(f"{path}: is damaged: remove it, then arm the machine again") from error
    if arming.mac != mac or not _TOKEN.fullmatch(arming.token):
        raise BootError(f"{path}: is damaged: remove it, then arm the machine again")
    return arming


def all_armings(layout: Layout) -> list[Arming]:
    """Return all machines that are armed, without those whose record is damaged."""
    found = []
    for path in layout.tokens.glob("*.json"):
        try:
            arming = load_arming(layout, parse_mac(path.stem))
        except ReimageError:
            continue  # whoever looks at that machine is told
        if arming is not None:
            found.append(arming)
    return found


def save_arming(layout: Layout, arming: Arming) -> None:
    """Write the record, for root's eyes only."""
    write_json(layout.token(arming.mac), asdict(arming), mode=0o600)


def prolong(layout: Layout, arming: Arming) -> None:
    """Have an arming last as long as one that is made now."""
    with suppress(FileNotFoundError):
        os.utime(layout.token(arming.mac))


def armed_last(layout: Layout, arming: Arming) -> float:
    """Return when a machine was last armed, in seconds since the epoch: with this token, or again while it had it.

    A clock that was wrong then and has been corrected makes that now: what seems to lie ahead would never be over.
    """
    path, now = layout.token(arming.mac), time.time()
    try:
        at = path.stat().st_mtime
        if at > now + _CLOCKS_DIFFER:
            prolong(layout, arming)
    except OSError as error:
        raise BootError(f"{path}: cannot be read: {error.strerror}") from error
    return min(at, now)


def open_inbox(layout: Layout, token: str) -> None:
    """Make the folder that the token opens to the web server, by its group."""
    inbox = layout.inbox(token)
    with _without_its_name("the folder for a check-in cannot be made", layout):
        inbox.mkdir(mode=0o700, exist_ok=True)
        parent = layout.checkins.stat()
        os.chown(inbox, parent.st_uid, parent.st_gid)
        inbox.chmod(0o770)


def close_inbox(layout: Layout, token: str) -> None:
    """Remove the folder that the token opens, with what is in it.

    It is renamed first: the web server cannot put a new file into it while it is being emptied.
    """
    closed = layout.checkins / f".{token}"
    with _without_its_name("the folder for a check-in cannot be removed", layout):
        try:
            layout.inbox(token).rename(closed)
        except FileNotFoundError:
            if not closed.exists():
                return
        shutil.rmtree(closed)


@contextmanager
def _without_its_name(trouble: str, layout: Layout) -> Iterator[None]:
    """Say what went wrong without the path, which ends in the token: errors are shown on the status page."""
    try:
        yield
    except OSError as error:
        raise BootError(f"{layout.checkins}: {trouble}: {error.strerror}") from None
