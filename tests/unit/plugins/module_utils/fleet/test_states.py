# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.fleet.errors import FleetError
from ansible_collections.reimage.lab.plugins.module_utils.fleet.states import (
    HISTORY_LIMIT,
    NOTE_LIMIT,
    STATES,
    advance,
    load_record,
    save_record,
    with_secure_boot,
)

MAC = "52:54:00:77:01:01"


def test_unknown_machine_is_registered(layout: Layout) -> None:
    assert load_record(layout, MAC) == {
        "mac": MAC, "name": "", "state": "registered", "image": "", "reason": "", "history": []
    }  # fmt: skip


def test_history_grows_by_one_state_at_a_time(layout: Layout) -> None:
    record = advance(load_record(layout, MAC), "armed", name="pc-01", image="a/1")
    record = advance(record, "booted", note="in 12 s")
    save_record(layout, record)
    loaded = load_record(layout, MAC)
    assert [(entry["state"], entry["note"]) for entry in loaded["history"]] == [("armed", ""), ("booted", "in 12 s")]
    assert (loaded["name"], loaded["image"], loaded["state"]) == ("pc-01", "a/1", "booted")
    assert loaded["history"][0]["at"] <= loaded["history"][1]["at"]


def test_same_state_with_the_same_note_is_the_same_record(layout: Layout) -> None:
    record = advance(load_record(layout, MAC), "writing", note="half")
    assert advance(record, "writing", note="half") == record
    assert advance(record, "writing", note="all") != record


def test_first_registration_is_recorded(layout: Layout) -> None:
    record = advance(load_record(layout, MAC), "registered")
    assert [entry["state"] for entry in record["history"]] == ["registered"]


def test_arming_begins_a_new_run(layout: Layout) -> None:
    record = load_record(layout, MAC)
    for state in ("armed", "booted", "failed"):
        record = advance(record, state, note="disk is gone" if state == "failed" else "")
    assert record["reason"] == "disk is gone"
    record = advance(record, "armed")
    assert [entry["state"] for entry in record["history"]] == ["armed"]
    assert record["reason"] == ""


def test_history_and_notes_are_bounded(layout: Layout) -> None:
    record = load_record(layout, MAC)
    for number in range(HISTORY_LIMIT + 20):
        record = advance(record, "writing", note=f"{number} " + "x" * 2 * NOTE_LIMIT)
    assert len(record["history"]) == HISTORY_LIMIT
    assert max(len(entry["note"]) for entry in record["history"]) == NOTE_LIMIT
    assert advance(record, "writing", note=f"{HISTORY_LIMIT + 19} " + "x" * 2 * NOTE_LIMIT) == record


def test_no_token_gets_into_what_everybody_can_read(layout: Layout) -> None:
    token = "0123456789abcdef" * 2
    crash = f"Module failed: [Errno 5] Input/output error: '/srv/reimage/boot/checkin/{token}', reimage.token={token}"
    record = advance(load_record(layout, MAC), "failed", note=crash)
    assert record["reason"] == (
        "Module failed: [Errno 5] Input/output error: '/srv/reimage/boot/checkin/********', reimage.token=********"
    )
    digest = token * 2
    assert advance(record, "failed", note=f"its SHA-256 is {digest}")["reason"] == f"its SHA-256 is {digest}"
    cut = "x" * (NOTE_LIMIT - 20) + f" {token}"
    assert token[:8] not in advance(record, "failed", note=cut)["reason"]


@pytest.mark.parametrize(
    ("before", "state"),
    [("armed", "verified"), ("armed", "writing"), ("preflight", "done"), ("writing", "booted"), ("done", "registered")],
)
def test_state_that_cannot_follow_is_refused(layout: Layout, before: str, state: str) -> None:
    record = advance(load_record(layout, MAC), before, name="pc-01")
    with pytest.raises(FleetError, match=f"pc-01 is {before}, so it cannot become {state}: {state} comes after "):
        advance(record, state)


@pytest.mark.parametrize("state", ["armed", "preflight", "failed"])
def test_run_may_begin_or_fail_in_any_state(layout: Layout, state: str) -> None:
    for before in STATES[1:]:
        record = advance(load_record(layout, MAC), before)
        assert advance(record, state)["state"] == state


def test_what_a_machine_said_is_text_on_the_status_page_and_in_the_record(layout: Layout) -> None:
    hostile = "\x1b[31mred\x07\u202etxt\nok: [pc-02]"
    record = advance(load_record(layout, MAC), "failed", name=hostile, image=hostile, note=hostile)
    for text in (record["name"], record["image"], record["reason"], record["history"][0]["note"]):
        assert text.isprintable()
        assert "[31mred" in text


@pytest.mark.parametrize("text", ['{"history": "all"}', '{"history": null}', '{"name": []}', '{"state": 7}'])
def test_file_that_is_no_record_is_named_with_what_to_do(layout: Layout, text: str) -> None:
    layout.record(MAC).write_text(text)
    with pytest.raises(BootError, match=r"52-54-00-77-01-01.json: is not the record of a machine: delete this file"):
        load_record(layout, MAC)


def test_record_keeps_what_the_firmware_said_of_secure_boot(layout: Layout) -> None:
    """It is a machine's word, so what is not text, and more of it than there can be, is left out."""
    said = {"enabled": True, "db": ["Microsoft UEFI CA 2023", "\33[31mred"], "kek": "none", "warnings": ["x"] * 1000, "more": 1}
    record = with_secure_boot(advance(load_record(layout, MAC), "preflight"), said)
    kept = record["secure_boot"]
    assert kept["enabled"] and kept["db"] == ["Microsoft UEFI CA 2023", " [31mred"]
    assert "kek" not in kept and "more" not in kept and len(kept["warnings"]) == 64
    assert advance(record, "writing")["secure_boot"] == kept


def test_status_page_does_not_tell_which_machines_start_whatever_they_are_given(layout: Layout) -> None:
    record = with_secure_boot(advance(load_record(layout, MAC), "preflight"), {"enabled": False})
    save_record(layout, record)
    assert load_record(layout, MAC)["secure_boot"] == {"enabled": False}
    public = json.loads(layout.state(MAC).read_text())
    assert public["state"] == "preflight" and "secure_boot" not in public
