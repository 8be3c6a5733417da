# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far one machine came on its way from the firmware to a check-in: what packets and logs say, of any boot loader."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Callable, Iterable, Iterator, Mapping, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.boot.journal import Asked, Journal, Sent
from ansible_collections.reimage.lab.plugins.module_utils.boot.kinds.target import Target
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import Outcome
from ansible_collections.reimage.lab.plugins.module_utils.boot.packets import Capture, Dhcp
from ansible_collections.reimage.lab.plugins.module_utils.boot.trail import Request

LOADERS = "/boot/loaders/"
SCRIPTS = "/boot/machines/"
CHECKIN = "/checkin/"
UNCONFIRMED = 20.0  # seconds


@dataclass(frozen=True)
class Server:
    """This boot server: its own addresses, the names of the machine's scripts, what it is armed with, and its check-ins.

    C(sizes) are those of the files of the target, in bytes.
    """

    addresses: frozenset[str]
    scripts: frozenset[str]
    armed: bool = False
    expired: bool = False
    target: Target | None = None
    outcome: Outcome | None = None
    waiting: int = 0
    clock_off: float = 0.0
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Seen:
    """What is known of a machine. Times are the last ones, in seconds since the epoch by the boot server's clock, 0 for never.

    C(told_loader) is when it was told a file to get by TFTP, C(told_url) one to get by HTTP; C(others) are servers that also
    answer its network boot.
    """

    server: Server
    asked_dhcp: float = 0.0
    asked_boot: float = 0.0
    answered: float = 0.0
    ignored: float = 0.0
    uefi: bool = False
    told_loader: float = 0.0
    told_url: float = 0.0
    knocked: float = 0.0
    addresses: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    tftp: list[Sent] = field(default_factory=list)
    asked_tftp: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def last(self) -> float:
        """When the machine, or its loader, was last heard of on its way."""
        times = [self.answered, self.knocked, *(sent.at for sent in self.tftp)]
        return max([*times, *(request.at for request in self.requests)])

    def fetched(self, wanted: Callable[[str], bool], status: Sequence[int] = (200, 206)) -> list[Request]:
        """Return the requests for some paths that ended with some status."""
        return [request for request in self.requests if request.status in status and wanted(request.uri)]

    @property
    def script(self) -> list[Request]:
        """Its own boot script, for whatever loader."""
        return self.fetched(lambda uri: uri.rpartition("/")[2] in self.server.scripts and uri.startswith(SCRIPTS))

    @property
    def target_files(self) -> list[str]:
        """Those files of its target that it fetched whole, in the order of the target."""
        return [name for name in self._asked_files() if any(map(self._is_whole, self._of(name)))]

    @property
    def cut_files(self) -> list[str]:
        """Those files of its target that it has begun to fetch, and has not got whole."""
        return [name for name in self._asked_files() if not any(map(self._is_whole, self._of(name)))]

    def _asked_files(self) -> list[str]:
        return [name for name in (self.server.target.files if self.server.target else ()) if self._of(name)]

    def _of(self, name: str) -> list[Request]:
        return self.fetched(lambda uri: uri == f"/boot/{name}")

    def _is_whole(self, request: Request) -> bool:
        return request.status == 206 or request.bytes >= self.server.sizes.get(request.uri[len("/boot/") :], 0)

    @property
    def loader_runs(self) -> bool:
        """Whether a loader was started: it was told, or has fetched by TFTP, what to do."""
        return self.told_url > 0 or any(name.endswith((".cfg", ".ipxe")) for name in self.loaders)

    @property
    def loaders(self) -> list[str]:
        """The loaders that it has fetched whole, by TFTP or HTTP, each once, in that order."""
        whole = [(sent.at, sent.file) for sent in self.tftp if sent.how == "sent"]
        whole += [(request.at, request.uri.rpartition("/")[2]) for request in self.fetched(lambda uri: uri.startswith(LOADERS))]
        return list(dict.fromkeys(name for _at, name in sorted(whole)))

    @property
    def missing(self) -> list[str]:
        """Files that it asked for and that are not on this server; a script may be missing, and loaders try several names."""
        lost = self.fetched(lambda uri: uri.startswith("/boot/") and not uri.startswith(SCRIPTS), (403, 404))
        tried = [request.uri.rpartition("/")[2] for request in lost]
        return tried or ([sent.file for sent in self.tftp if sent.how == "missing"] if not self.loaders else [])


def observe(macs: Sequence[str], server: Server, capture: Capture, journal: Journal, requests: Iterable[Request]) -> Seen:
    """Return what is known of the machine with these MACs from packets, dnsmasq's journal, and the web server's log."""
    seen, known = Seen(server), list(requests)
    for message in capture.dhcp:
        if message.mac in macs:
            _take_message(seen, message)
    for asked in journal.asked:
        if asked.mac in macs:
            _take_request(seen, asked)
    own = {f"{SCRIPTS}{name}" for name in server.scripts}
    seen.addresses |= {request.client for request in known if request.uri in own}
    seen.addresses -= server.addresses
    seen.requests = [request for request in known if request.client in seen.addresses]
    told = [asked.at for asked in journal.asked if asked.mac in macs and asked.file and not asked.file.startswith("http")]
    seen.tftp = list(_truly_sent([sent for sent in journal.sent if sent.address in seen.addresses], told))
    seen.asked_tftp = [packet.text for packet in capture.tftp if not packet.error and packet.source in seen.addresses]
    seen.knocked = max((knock.at for knock in capture.knocks if knock.source in seen.addresses), default=0.0)
    return seen


def _truly_sent(files: Sequence[Sent], told: Sequence[float]) -> Iterator[Sent]:
    """Yield what went by TFTP. dnsmasq says of a file that nobody confirmed that it was sent, after half a minute.

    :param told: When the machine was told what to load.
    """
    cut: set[tuple[str, float]] = set()
    before = 0.0
    for sent in files:
        began = max((at for at in told if at <= sent.at), default=0.0)
        first = began > 0 and before < began  # a loader that another one loads may be large
        lost = (sent.file, began) in cut or (first and sent.at - began > UNCONFIRMED)
        if sent.how == "sent" and lost:
            cut.add((sent.file, began))
            yield replace(sent, how="cut")
        else:
            before = sent.at
            yield sent


def _take_message(seen: Seen, message: Dhcp) -> None:
    """Add a message of DHCP from the machine, or from a server to it."""
    if message.type in ("offer", "ack", "nak"):
        if message.source not in seen.server.addresses and (message.boots or message.file):
            seen.others.add(message.source)
        return
    seen.asked_dhcp = max(seen.asked_dhcp, message.at)
    if message.boots:
        seen.asked_boot = max(seen.asked_boot, message.at)
    seen.uefi = seen.uefi or message.uefi
    if message.address:
        seen.addresses.add(message.address)


def _take_request(seen: Seen, asked: Asked) -> None:
    """Add what dnsmasq says of a request for a network boot."""
    seen.asked_boot = max(seen.asked_boot, asked.at)
    seen.uefi = seen.uefi or asked.uefi
    if asked.address:
        seen.addresses.add(asked.address)
    if asked.ignored:
        seen.ignored = max(seen.ignored, asked.at)
    if asked.answered:
        seen.answered = max(seen.answered, asked.at)
        if asked.file.startswith("http"):
            seen.told_url = max(seen.told_url, asked.at)
        elif asked.file:
            seen.told_loader = max(seen.told_loader, asked.at)
