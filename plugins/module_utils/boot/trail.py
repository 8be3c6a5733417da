# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the boot server saw of a machine since it was armed: progress while waiting, hints if it never comes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Iterator

from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import Configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import Arming
from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run

_TAIL = 4 << 20


def requests_seen(layout: Layout, configuration: Configuration, arming: Arming) -> list[dict[str, Any]]:
    """Return which of its boot files a machine fetched since it was armed, in that order, each once.

    Each is C({"file", "at", "address"}); the target's own count if the address that asked for them is the one that
    asked for this machine's script. The access log is one JSON object a line, as the role C(boot_server) sets it.
    """
    target = configuration.targets.get(arming.target)
    if target is None or configuration.access_log is None:
        return []
    scripts = [f"/boot/{path.relative_to(layout.http)}" for card in arming.macs for path in layout.scripts(card)]
    others = [f"/boot/{name}" for name in target.files]
    seen: dict[str, dict[str, Any]] = {}
    address = None
    for entry in _entries(Path(configuration.access_log), arming.armed_at):
        uri, client = entry.get("uri"), entry.get("client")
        if uri in scripts:
            address = client
        elif uri not in others or client != address:
            continue
        file = str(uri).rpartition("/")[2]
        seen.setdefault(file, {"file": file, "at": entry["at"], "address": str(client)})
    return list(seen.values())


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


def _entries(log: Path, since: float) -> Iterator[dict[str, Any]]:
    """Yield the successful requests since a moment, from the end of the log that is worth reading."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read(_TAIL).splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise BootError(f"{log}: cannot be read: {error.strerror}") from error
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the first line is cut, the last may be half written
        if isinstance(entry, dict) and entry.get("status") in (200, 206) and float(entry.get("at", 0)) >= since:
            yield entry
