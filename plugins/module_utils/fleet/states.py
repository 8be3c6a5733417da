# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of each machine: one JSON record a machine, for a second run and for people."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.files import read_json, write_json
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import mask_tokens
from ansible_collections.reimage.lab.plugins.module_utils.fleet.errors import FleetError
from ansible_collections.reimage.lab.plugins.module_utils.fleet.listing import list_records
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import printable

# Each state, and the states that a machine comes from. Any state may become one with None: a walk begins at C(armed), or, where
# an earlier run left the machine in automation, at C(preflight); and everything can fail.
COMES_FROM: dict[str, tuple[str, ...] | None] = {
    "registered": (),
    "armed": None,
    "booted": ("armed",),
    "preflight": None,
    "writing": ("preflight",),
    "verified": ("writing",),
    "identified": ("verified",),
    "released": ("identified",),
    "first_boot": ("released",),
    "reachable": ("first_boot",),
    "capturing": ("preflight",),
    "captured": ("capturing",),
    "done": ("reachable", "captured"),
    "failed": None,
}
STATES = tuple(COMES_FROM)
HISTORY_LIMIT = 100
NOTE_LIMIT = 2000
NAME_LIMIT = 200
_CERTIFICATES_LIMIT = 64


def load_record(layout: Layout, mac: str) -> dict[str, Any]:
    """Return a machine's record; one that was never set is C(registered), with no history."""
    empty: dict[str, Any] = {"mac": mac, "name": "", "state": "registered", "image": "", "reason": "", "history": []}
    record = {**empty, **(read_json(layout.record(mac)) or {})}
    if not all(isinstance(record[key], type(value)) for key, value in empty.items()):
        raise BootError(f"{layout.record(mac)}: is not the record of a machine: delete this file")
    return record


def with_secure_boot(record: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return the record with what C(secure_boot_info) found on the machine, which is a machine's word: bounded, and text only."""
    lists = {key: found.get(key) for key in ("db", "kek", "dbx", "warnings")}
    kept = {
        key: [printable(str(item), NOTE_LIMIT) for item in items[:_CERTIFICATES_LIMIT]]
        for key, items in lists.items()
        if isinstance(items, list)
    }
    return {**record, "secure_boot": {"enabled": found.get("enabled") is True, **kept}}


def advance(
    record: dict[str, Any], state: str, *, name: str | None = None, image: str | None = None, note: str = ""
) -> dict[str, Any]:
    """Return the record after a machine came into a state, which is the same record if nothing is new.

    C(armed) begins a new run, so its history starts there. The history of one run is bounded too. A machine without a history may
    come into any state: its record begins there. Everybody can read a note, and an error may name the folder of a
    token, or hold what a machine said.

    :raises FleetError: The machine cannot have come into this state from the one that it was in.
    """
    note = printable(mask_tokens(note), NOTE_LIMIT)
    before, allowed = record["state"], COMES_FROM[state]
    if record["history"] and state != before and allowed is not None and before not in allowed:
        raise FleetError(
            f"{record['name'] or record['mac']} is {before}, so it cannot become {state}: {state} comes after"
            f" {' or '.join(allowed) or 'nothing'}. Run the playbook again, which begins where the machine is"
        )
    changed = dict(record)
    if name is not None:
        changed["name"] = printable(name, NAME_LIMIT)
    if image is not None:
        changed["image"] = printable(image, NAME_LIMIT)
    last = record["history"][-1] if record["history"] else {}
    if last.get("state") != state or last.get("note") != note:
        entry = {"state": state, "at": round(time.time(), 3), "note": note}
        earlier = [] if state == "armed" else record["history"]
        changed["history"] = [*earlier, entry][-HISTORY_LIMIT:]
        changed["state"] = state
        changed["reason"] = note if state == "failed" else ""
    return changed


def save_record(layout: Layout, record: dict[str, Any]) -> None:
    """Write a machine's record, and have the status page show it.

    It does not show that a machine is armed: whoever knows that could check in in its place, before it does. Nor does it show
    which machines start whatever they are given.
    """
    write_json(layout.record(record["mac"]), record, mode=0o600)
    if record["state"] != "armed":
        write_json(layout.state(record["mac"]), {key: value for key, value in record.items() if key != "secure_boot"})
        list_records(layout)
