# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands on the screen of a machine in automation."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[3] / "roles/automation_image/files/root/usr/lib/reimage/screen.py"
MACHINE = {"address": "10.77.1.101", "mac": "52:54:00:77:01:01", "vendor": "Example", "product": "PC 7"}
PROGRESS = {"stage": "writing", "title": "lab/1", "done": 3 << 30, "total": 4 << 30, "rate": 50 << 20, "eta": 61}


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # beside it, where everything goes into the image
    specification = importlib.util.spec_from_file_location("screen", FILE)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)

    def show(**state: Any) -> list[str]:
        plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", module.render(state, 80))
        lines = plain.splitlines()
        assert max(map(len, lines)) <= 80
        return lines

    return show


def test_it_says_who_the_machine_is_and_how_far_its_work_is(screen: Any) -> None:
    shown = "\n".join(screen(title={"name": "pc-01"}, machine=MACHINE, progress=PROGRESS))
    for words in ("pc-01", "10.77.1.101  52:54:00:77:01:01  Example  PC 7", "Writing  lab/1", "75.0%"):
        assert words in shown
    assert "3.0 GiB of 4.0 GiB     50 MiB/s     1 min 01 s left" in shown


def test_before_there_is_work_it_says_what_it_waits_for(screen: Any) -> None:
    assert any("Asking DHCP for an address" in line for line in screen(status="asking DHCP for an address"))


def test_failure_is_shown_whole_with_what_to_do(screen: Any) -> None:
    reason = "chunk " + "ab" * 32 + " of lab/1 cannot be had: the server is gone"
    shown = " ".join(line.strip() for line in screen(progress=PROGRESS, failed=reason))
    assert "FAILED" in shown
    assert "the server is gone" in shown
    assert "run the playbook again" in shown
    assert "Writing" not in shown


def test_what_does_not_make_sense_does_not_stop_it(screen: Any) -> None:
    assert screen(progress={"stage": "verifying", "total": 0}, machine=None, title=None)


HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J\n\r\u202eover"


@pytest.mark.parametrize(
    "progress",
    [
        [],
        [1],
        "writing",
        7,
        {"stage": [], "done": "half", "total": {}, "rate": None, "eta": True},
        *(
            {**PROGRESS, key: value}
            for key in ("done", "total", "rate", "eta")
            for value in (float("inf"), float("nan"), -1, "x", 1 << 70)
        ),
    ],
)
def test_progress_that_makes_no_sense_does_not_stop_it(screen: Any, progress: Any) -> None:
    assert "pc-01" in "".join(screen(title={"name": "pc-01"}, progress=progress, machine=[]))


def test_text_of_firmware_and_images_is_text(screen: Any) -> None:
    machine = dict.fromkeys(MACHINE, HOSTILE)
    for state in ({"progress": {**PROGRESS, "title": HOSTILE, "stage": HOSTILE}}, {"failed": HOSTILE}, {"status": HOSTILE}):
        for line in screen(title={"name": HOSTILE}, machine=machine, **state):
            assert line.isprintable()


def test_shell_is_offered_only_where_there_is_one(screen: Any) -> None:
    assert "Alt-F2" not in " ".join(screen(failed="gone"))
    assert "With the password of the console, Alt-F2 leads to a shell." in " ".join(screen(failed="gone", console=True))
