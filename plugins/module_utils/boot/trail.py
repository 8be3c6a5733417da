# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the boot server saw of a machine since it was armed: progress while waiting, hints if it never comes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import Configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import Arming
from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run

_TAIL = 4 << 20


@dataclass(frozen=True)
class Request:
    """A request of the access log; C(at) is in seconds since the epoch, by this server's clock."""

    at: float
    client: str
    uri: str
    status: int = 200
    bytes: int = 0


def requests_seen(layout: Layout, configuration: Configuration, arming: Arming) -> list[dict[str, Any]]:
    """Return which of its boot files a machine fetched since it was armed, in that order, each once.

    Each is C({"file", "at", "address"}); the target's own count if the address that asked for them is the one that
    asked for this machine's script.
    """
    target = configuration.targets.get(arming.target)
    if target is None:
        return []
    scripts = _scripts(layout, arming)
    others = [f"/boot/{name}" for name in target.files]
    seen: dict[str, dict[str, Any]] = {}
    address = None
    for request in log_requests(configuration, arming.armed_at):
        if request.uri in scripts:
            address = request.client
        elif request.uri not in others or request.client != address:
            continue
        file = request.uri.rpartition("/")[2]
        seen.setdefault(file, {"file": file, "at": request.at, "address": request.client})
    return list(seen.values())


def script_fetchers(layout: Layout, arming: Arming, requests: Sequence[Request]) -> list[str]:
    """Return the addresses that fetched a machine's boot script since it was armed, each once, in that order."""
    scripts = _scripts(layout, arming)
    found = [request.client for request in requests if request.at >= arming.armed_at and request.uri in scripts]
    return list(dict.fromkeys(found))


def dhcp_seen(arming: Arming) -> str | None:
    """Return the last line that dnsmasq logged of a machine since it was armed, or None."""
    since = f"@{int(arming.armed_at)}"
    cards = "|".join(arming.macs)
    command = ["journalctl", "--unit=dnsmasq", f"--since={since}", "--output=cat", "--no-pager", f"--grep={cards}"]
    try:
        lines = run([*command, "--lines=1"], accept=(0, 1), timeout=10).stdout.decode(errors="replace").split("\n")
    except CommandError:
        return None
    return next((line.strip()[:200] for line in lines if any(card in line for card in arming.macs)), None)


def log_requests(configuration: Configuration, since: float) -> Iterator[Request]:
    """Yield the successful requests since a moment, as C(all_requests) does."""
    return (request for request in all_requests(configuration, since) if request.status in (200, 206))


def all_requests(configuration: Configuration, since: float) -> Iterator[Request]:
    """Yield the requests since a moment, from the end of the access log that is worth reading.

    The log is one JSON object a line, as the role C(boot_server) sets it.

    :param since: Seconds since the epoch.
    """
    for line in _tail(Path(configuration.access_log)) if configuration.access_log else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the first line is cut, the last may be half written
        if isinstance(entry, dict) and float(entry.get("at", 0)) >= since:
            client, uri = str(entry.get("client")), str(entry.get("uri"))
            yield Request(float(entry["at"]), client, uri, int(entry.get("status", 0)), int(entry.get("bytes", 0)))


def _scripts(layout: Layout, arming: Arming) -> list[str]:
    return [f"/boot/{path.relative_to(layout.http)}" for card in arming.macs for path in layout.scripts(card)]


def _tail(log: Path) -> list[bytes]:
    """Return the last lines of a log, with those of the file before it where the log has just been rotated."""
    end = b""
    for path in (log, log.with_name(f"{log.name}.1")):
        wanted = _TAIL - len(end)
        try:
            with path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - wanted))
                end = file.read(wanted) + end
        except FileNotFoundError:
            continue
        except OSError as error:
            raise BootError(f"{path}: cannot be read: {error.strerror}") from error
    return end.splitlines()
