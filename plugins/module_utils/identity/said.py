# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine in production says of itself, which may be anything."""

from __future__ import annotations

import json
from dataclasses import dataclass

LONGEST = 255


@dataclass(frozen=True)
class Said:
    """The name that its system has, and name and image that it was given as identity; empty where it says nothing that is one."""

    calls_itself: str = ""
    hostname: str = ""
    image: str = ""


def parse(text: str) -> Said:
    """Return what the output of a system says: its name in the first line, and then its C(identity.json).

    Nothing in it is an error: a machine that talks nonsense has no identity of ours.
    """
    name, _newline, record = text.lstrip().partition("\n")
    try:
        value = json.loads(record)
    except (ValueError, RecursionError):
        value = None
    value = value if isinstance(value, dict) else {}
    return Said(_short(name.strip()), _short(value.get("hostname")), _short(value.get("image")))


def _short(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= LONGEST and value.isprintable() else ""
