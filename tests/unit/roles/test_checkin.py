# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine in automation sends: the same again, until it has another address."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "roles/automation_image/files/root/usr/lib/reimage/checkin.py"


def test_check_in_is_repeated_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disks and memory may look otherwise a moment later, and a second, different check-in is an alarm."""
    spec = importlib.util.spec_from_file_location("checkin", SOURCE)
    assert spec is not None and spec.loader is not None
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    checkin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checkin)
    addresses, calls = ["10.77.1.101"], []

    def facts(interface: str, mac: str) -> dict[str, object]:
        calls.append((interface, mac))
        return {"address": addresses[-1], "disks": len(calls)}

    monkeypatch.setattr(checkin, "SENT", tmp_path / "checkin.json")
    monkeypatch.setattr(checkin, "address", lambda interface: addresses[-1])
    monkeypatch.setattr(checkin, "facts", facts)
    first = checkin.record("eth0", "52:54:00:77:01:01")
    assert checkin.record("eth0", "52:54:00:77:01:01") == first
    addresses.append("10.77.1.102")
    assert json.loads(checkin.record("eth0", "52:54:00:77:01:01")) == {"address": "10.77.1.102", "disks": 2}
