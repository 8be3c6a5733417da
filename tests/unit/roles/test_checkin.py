# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine in automation sends, the same again until it has another address; and what it asks when that is not taken."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout

PROGRAMS = Path(__file__).resolve().parents[3] / "roles/automation_image/files/root/usr/lib/reimage"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a program of automation as a module."""
    spec = importlib.util.spec_from_file_location(name, PROGRAMS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


def test_check_in_is_repeated_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disks and memory may look otherwise a moment later, and a second, different check-in is an alarm."""
    checkin = load("checkin", monkeypatch)
    addresses, calls = ["10.77.1.101"], []

    def facts(interface: str, mac: str) -> dict[str, object]:
        calls.append((interface, mac))
        return {"address": addresses[-1], "disks": len(calls)}

    monkeypatch.setattr(checkin, "SENT", tmp_path / "checkin.json")
    monkeypatch.setattr(checkin, "address", lambda interface: addresses[-1])
    monkeypatch.setattr(checkin, "facts", facts)

    def recorded() -> str:
        checkin.record("eth0", "52:54:00:77:01:01")
        return (tmp_path / "checkin.json").read_text()

    first = recorded()
    assert recorded() == first
    addresses.append("10.77.1.102")
    assert json.loads(recorded()) == {"address": "10.77.1.102", "disks": 2}


def test_scripts_of_every_boot_loader_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that is overlooked could start the machine with a token that is not taken, again and again."""
    unarmed, asked = load("unarmed", monkeypatch), []
    monkeypatch.setattr(unarmed, "answer", lambda url: (asked.append(url.rpartition("/")[2]), (404, ""))[1])
    assert unarmed.disarmed("http://10.77.1.2", "0" * 32, "52-54-00-77-01-01")
    assert {path.name for path in Layout(tmp_path).scripts("52:54:00:77:01:01")} <= set(asked)


def test_whoever_has_a_shell_on_the_console_is_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unarmed = load("unarmed", monkeypatch)
    monkeypatch.setattr(unarmed, "PROC", tmp_path)
    for pid, name, tty in ((1, "tini", 0), (7, "a) S 1 (b", 0), (8, "sulogin", 1026)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S 1 {pid} {pid} {tty} -1 0\n")
    assert not unarmed.on_console()
    (tmp_path / "9").mkdir()
    (tmp_path / "9/stat").write_text("9 (bash) S 8 9 9 1026 -1 0\n")
    assert unarmed.on_console()
