# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What dnsmasq logs of network boots: who asked, whether it was answered, and which files went by TFTP.

A line holds what a machine sent, so only what dnsmasq itself says of it is looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Iterable

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import printable

_LINES = 20000
_LINE = re.compile(r"(?P<at>\d{1,12}\.\d{1,6}) \S{1,255} dnsmasq-(?P<part>dhcp|tftp)\[\d+\]: (?P<text>.{1,500})")
_SAID = re.compile(r"(?P<exchange>\d+) (?P<text>.+)")
_ASKED = re.compile(
    r"(?:PXE|DHCP\w+)\(\S+\) (?:(?P<address>[0-9.]{7,15}) )?(?P<mac>[0-9a-f]{2}(?::[0-9a-f]{2}){5})(?: (?P<outcome>.*))?"
)
_TFTP = re.compile(
    r"(?P<what>sent|failed sending|file) (?P<path>\S{1,400})(?P<missing> not found)?(?: to| for) (?P<address>[0-9.]{7,15})"
)


@dataclass(frozen=True)
class Asked:
    """A request for a network boot; C(ignored) because the machine is not armed, C(file) is the answer, if there was one."""

    at: float
    mac: str = ""
    address: str = ""
    uefi: bool = False
    ignored: bool = False
    answered: bool = False
    file: str = ""


@dataclass(frozen=True)
class Sent:
    """A file that was asked for by TFTP, and whether it was C(sent), C(cut) off or C(missing)."""

    at: float
    address: str
    file: str
    how: str


@dataclass
class Journal:
    """What dnsmasq said."""

    asked: list[Asked] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)


def read_journal(since: float) -> Journal:
    """Return what dnsmasq has said since a moment, in seconds since the epoch; nothing where it has no journal."""
    command = ["journalctl", "--unit=dnsmasq", f"--since=@{int(since)}", "--output=short-unix", "--no-pager", f"--lines={_LINES}"]
    try:
        return parse_journal(run(command, accept=(0, 1), timeout=30).stdout.decode(errors="replace").splitlines())
    except CommandError:
        return Journal()


def parse_journal(lines: Iterable[str]) -> Journal:
    """Return what lines in journalctl's format C(short-unix) say. Those of one request belong together by its number."""
    found = Journal()
    requests: dict[str, Asked] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        at, text = float(match["at"]), match["text"]
        if match["part"] == "tftp":
            _add_file(found, at, text)
            continue
        said = _SAID.fullmatch(text)
        if said is None:
            continue
        number, text = said["exchange"], said["text"]
        if text.startswith(("available DHCP subnet:", "client provides name:")):  # the first line of each request
            _close(found, requests.pop(number, None))
        requests[number] = _more(requests.get(number) or Asked(at), text)
    for request in requests.values():
        _close(found, request)
    found.asked.sort(key=lambda asked: asked.at)
    return found


def _more(request: Asked, text: str) -> Asked:
    """Return what is known of a request after one line more."""
    label, _colon, value = text.partition(": ")
    asked = _ASKED.fullmatch(text)
    if asked is not None:
        outcome = asked["outcome"] or ""
        return replace(
            request,
            mac=asked["mac"],
            address=asked["address"] or "",
            ignored=outcome in ("ignored", "proxy-ignored"),
            answered=bool(asked["address"]) or outcome == "proxy",
        )
    if label == "vendor class":
        return replace(request, uefi=re.match(r"(?:PXE|HTTP)Client:Arch:(?!00000)", value) is not None)
    if label == "bootfile name":
        return replace(request, file=printable(value, 200))
    return request


def _close(found: Journal, request: Asked | None) -> None:
    if request is not None and request.mac:
        found.asked.append(request)


def _add_file(found: Journal, at: float, text: str) -> None:
    match = _TFTP.fullmatch(text)
    if match is not None:
        how = {"sent": "sent", "failed sending": "cut", "file": "missing"}[match["what"]]
        found.sent.append(Sent(at, match["address"], printable(match["path"].rpartition("/")[2], 100), how))
