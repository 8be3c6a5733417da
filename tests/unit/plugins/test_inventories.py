# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example of a school is an inventory that works."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def plain(value: str | dict[str, str]) -> str:
    """Return a text of the manifest, which no template may be made of."""
    return value if isinstance(value, str) else value["__ansible_unsafe"]


def test_school_has_300_machines_in_rooms() -> None:
    words = ["ansible-inventory", "-i", "inventories/school", "--list"]
    found = json.loads(subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=60).stdout)
    machines = found["machines"]["hosts"]
    facts = found["_meta"]["hostvars"]
    assert len(machines) == 300
    assert len({mac for name in machines for mac in map(plain, facts[name]["reimage_macs"])}) == 300
    assert len(found["location_library"]["hosts"]) == 18
    assert plain(facts["b2-110-pc01"]["reimage_image"]) == "cad-linux"
    assert facts["b2-110-pc01"]["reimage_disk"] == {"size_min": 100000000000}
    assert found["imaging_server"]["hosts"] == ["imaging"]
