# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check-ins as they arrive: the web server writes each into one folder, and this decides which one is the machine's.

A systemd path unit of the role C(boot_server) runs it as C(python3 -m …boot.arrivals ROOT) whenever something has arrived.
"""

from __future__ import annotations

import ipaddress
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Iterator

from ansible_collections.reimage.lab.plugins.module_utils.boot.addresses import is_in, own_addresses
from ansible_collections.reimage.lab.plugins.module_utils.boot.checkins import LARGEST, CheckinError, validate
from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import Configuration, load_configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.files import arrived_at, read_json, remove
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import Refusal, load_outcome, save_outcome
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import Arming, all_armings, mask_tokens
from ansible_collections.reimage.lab.plugins.module_utils.boot.trail import Request, log_requests, script_fetchers
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError

# As nginx names them: the token, who sent it, and the number of the request, so that none overwrites another.
_NAME = re.compile(r"(?P<token>[0-9a-f]{32})@(?P<sender>[0-9a-f.:]{2,45})@[0-9a-f]{32}\.json")


@dataclass(frozen=True)
class Arrival:
    """A check-in that waits to be judged; C(at) is in seconds since the epoch, by this server's clock.

    C(clock_off) is by how many seconds the sender's clock is ahead, as the header C(Date) says, which nginx gives the file.
    """

    path: Path
    token: str
    sender: str
    at: float
    clock_off: int


def receive(layout: Layout) -> Iterator[str]:
    """Accept or refuse every check-in that has arrived, oldest first, and remove it from where the web server writes.

    Yields a line for the journal on each; no token is in it.

    :raises BootError: The server is not set up, or what was decided cannot be written: what is left waits for the next call.
    """
    paths = list(layout.arrivals.iterdir())
    arrivals = [arrival for arrival in map(_arrival, paths) if arrival is not None]
    desk = _Desk(layout, load_configuration(layout), {arming.token: arming for arming in all_armings(layout)})
    for arrival in sorted(arrivals, key=lambda arrival: arrival.at):
        yield desk.judge(arrival)
        remove(arrival.path)
    for path in set(paths) - {arrival.path for arrival in arrivals}:
        remove(path)


class _Desk:
    """What has to be known to judge check-ins, read once for all that wait."""

    def __init__(self, layout: Layout, configuration: Configuration, armings: dict[str, Arming]) -> None:
        self._layout = layout
        self._configuration = configuration
        self._armings = armings
        self._requests: list[Request] = list(
            log_requests(configuration, min((arming.armed_at for arming in armings.values()), default=time.time()))
        )
        self._own = own_addresses()
        self._taken = dict(self._accepted())

    def judge(self, arrival: Arrival) -> str:
        """Record whether a check-in is the machine's, and return what to say of it."""
        arming = self._armings.get(arrival.token)
        if arming is None:
            return f"a check-in from {arrival.sender} was refused: its token is not open"
        try:
            before = load_outcome(self._layout, arming)
        except BootError as error:
            return f"{arming.mac}: the check-in from {arrival.sender} was refused: {error}"
        fetched_by = script_fetchers(self._layout, arming, self._requests)
        try:
            checkin = _read(arrival, arming.mac)
            if before.checkin is not None:
                if before.checkin["address"] == arrival.sender and checkin.items() <= before.checkin.items():
                    return f"{arming.mac}: the check-in from {arrival.sender} came again"
                raise CheckinError("another check-in was accepted before")
            self._vet(arrival.sender, arming, checkin, fetched_by)
        except BootError as error:
            after = before.refuse(Refusal(arrival.at, arrival.sender, str(error), arrival.sender in fetched_by))
            said = f"{arming.mac}: the check-in from {arrival.sender} was refused: {error}"
        else:
            after = replace(
                before, checkin={**checkin, "received_at": arrival.at, "clock_off": arrival.clock_off, "fetched_by": fetched_by}
            )
            self._taken[arrival.sender] = arming.mac
            said = f"{arming.mac}: the check-in from {arrival.sender} was accepted"
        save_outcome(self._layout, arming.mac, after)
        return said

    def _vet(self, sender: str, arming: Arming, checkin: dict[str, Any], fetched_by: list[str]) -> None:
        """Refuse a well-formed check-in that does not come from where the machine must be."""
        if checkin["address"] != sender:
            raise CheckinError(
                f"it says that it is at {checkin['address']}, and came from {sender}: no router may translate addresses between"
                " a machine and its boot server"
            )
        if sender in self._own:
            raise CheckinError(f"{sender} is an address of this boot server")
        if not is_in(sender, self._configuration.subnets):
            known = ", ".join(map(str, self._configuration.subnets)) or "none"
            raise CheckinError(
                f"{sender} is in no subnet that machines boot in ({known}): add its subnet to proxy_dhcp_subnets, then set this"
                " boot server up again with reimage.lab.setup_server"
            )
        if self._taken.get(sender, arming.mac) != arming.mac:
            other = self._taken[sender]
            raise CheckinError(f"{sender} is the address of {other}, which is in automation: if it is not any more, disarm it")
        if not fetched_by:
            raise CheckinError("nobody has fetched its boot script since it was armed")
        build = self._build(arming)
        if build is not None and checkin["build"] != build:
            raise CheckinError(
                f"it runs build {checkin['build']!r} of automation, and this boot server serves {build!r}: run the playbook again"
            )

    def _build(self, arming: Arming) -> str | None:
        """Return the id of what the machine was armed with, where the target has one."""
        folders = [(self._layout.http / name).parent for name in self._configuration.target(arming.target).files]
        description = read_json(folders[0] / "build.json") if folders else None
        return None if description is None else str(description.get("id"))

    def _accepted(self) -> Iterator[tuple[str, str]]:
        for arming in self._armings.values():
            try:
                checkin = load_outcome(self._layout, arming).checkin
            except BootError:
                continue  # whoever looks at that machine is told
            if checkin is not None:
                yield checkin["address"], arming.mac


def _arrival(path: Path) -> Arrival | None:
    """Return the check-in that a file is, or None if its name is not one that nginx gives."""
    match = _NAME.fullmatch(path.name)
    try:
        if match is None:
            return None
        sender, at = str(ipaddress.ip_address(match["sender"])), arrived_at(path)
        return Arrival(path, match["token"], sender, at, round(path.lstat().st_mtime - at))
    except ValueError:
        return None


def _read(arrival: Arrival, mac: str) -> dict[str, Any]:
    try:
        value = read_json(arrival.path, LARGEST)
    except BootError as error:
        raise CheckinError(str(error).replace(str(arrival.path), "checkin.json")) from error
    return validate(value or {}, mac)


def main() -> None:
    """Do it once, for the folder that is the only argument."""
    try:
        for said in receive(Layout(Path(sys.argv[1]))):
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()
    except (ReimageError, OSError) as error:
        raise SystemExit(mask_tokens(str(error))) from None  # the names of what arrives begin with tokens


if __name__ == "__main__":
    main()
