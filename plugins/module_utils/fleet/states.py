# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of each machine: one JSON record a machine, for a second run and for people."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.boot.files import read_json, write_json
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import mask_tokens
from ansible_collections.reimage.lab.plugins.module_utils.fleet.listing import list_records

STATES = (
    "registered",
    "armed",
    "booted",
    "preflight",
    "writing",
    "verified",
    "identified",
    "released",
    "first_boot",
    "reachable",
    "done",
    "failed",
)
HISTORY_LIMIT = 100
NOTE_LIMIT = 2000


def load_record(layout: Layout, mac: str) -> dict[str, Any]:
    """Return a machine's record; one that was never set is C(registered), with no history."""
    empty = {"mac": mac, "name": "", "state": "registered", "image": "", "reason": "", "history": []}
    return {**empty, **(read_json(layout.state(mac)) or {})}


def advance(
    record: dict[str, Any], state: str, *, name: str | None = None, image: str | None = None, note: str = ""
) -> dict[str, Any]:
    """Return the record after a machine came into a state, which is the same record if nothing is new.

    C(armed) begins a new run, so its history starts there. The history of one run is bounded too. Everybody can read a note,
    and an error may name the folder of a token.
    """
    note = mask_tokens(note)[:NOTE_LIMIT]
    changed = dict(record)
    if name is not None:
        changed["name"] = name
    if image is not None:
        changed["image"] = image
    last = record["history"][-1] if record["history"] else {}
    if last.get("state") != state or last.get("note") != note:
        entry = {"state": state, "at": round(time.time(), 3), "note": note}
        earlier = [] if state == "armed" else record["history"]
        changed["history"] = [*earlier, entry][-HISTORY_LIMIT:]
        changed["state"] = state
        changed["reason"] = note if state == "failed" else ""
    return changed


def save_record(layout: Layout, record: dict[str, Any]) -> None:
    """Write a machine's record, and have the status page find it."""
    write_json(layout.state(record["mac"]), record)
    list_records(layout)
