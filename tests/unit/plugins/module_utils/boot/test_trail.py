# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot import trail
from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import load_configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import arm
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import Arming, load_arming

MAC = "52:54:00:77:01:01"
SCRIPT = "/boot/machines/52-54-00-77-01-01.ipxe"
KERNEL = "/boot/automation/vmlinuz"


@pytest.fixture
def arming(layout: Layout) -> Arming:
    arm(layout, MAC, "automation")
    found = load_arming(layout, MAC)
    assert found is not None
    return found


def seen(layout: Layout, arming: Arming, *requests: tuple[float, str, str, int]) -> list[str]:
    lines = [json.dumps({"at": arming.armed_at + at, "client": c, "uri": u, "status": s}) for at, c, u, s in requests]
    log = load_configuration(layout).access_log
    assert log is not None
    (layout.root / "access.log").write_text('17.2, "uri": "/cut"}\n' + "\n".join(lines) + '\n{"at": 1')
    return [entry["file"] for entry in trail.requests_seen(layout, load_configuration(layout), arming)]


def test_files_are_listed_once_in_order(layout: Layout, arming: Arming) -> None:
    got = seen(layout, arming, (1, "10.0.0.7", SCRIPT, 200), (2, "10.0.0.7", KERNEL, 206), (3, "10.0.0.7", KERNEL, 200))
    assert got == ["52-54-00-77-01-01.ipxe", "vmlinuz"]


def test_what_others_fetch_does_not_count(layout: Layout, arming: Arming) -> None:
    """Another machine's kernel, a request from before arming, and one that was refused."""
    assert seen(
        layout, arming, (-1, "10.0.0.7", SCRIPT, 200), (1, "10.0.0.8", KERNEL, 200), (2, "10.0.0.7", SCRIPT, 404)
    ) == []  # fmt: skip


def test_machine_may_boot_from_any_of_its_cards(layout: Layout) -> None:
    other = "52:54:00:77:01:99"
    arm(layout, MAC, "automation", [other])
    found = load_arming(layout, MAC)
    assert found is not None
    script = SCRIPT.replace("01-01.", "01-99.")
    assert seen(layout, found, (1, "10.0.0.7", script, 200), (2, "10.0.0.7", KERNEL, 200)) == [
        "52-54-00-77-01-99.ipxe",
        "vmlinuz",
    ]


def test_script_that_grub_fetches_counts_too(layout: Layout, arming: Arming) -> None:
    script = f"/boot/machines/{MAC}.grub"
    assert seen(layout, arming, (1, "10.0.0.7", script, 200), (2, "10.0.0.7", KERNEL, 200)) == [f"{MAC}.grub", "vmlinuz"]
    requests = list(trail.log_requests(load_configuration(layout), arming.armed_at))
    assert trail.script_fetchers(layout, arming, requests) == ["10.0.0.7"]


def test_only_the_end_of_a_long_log_is_read(layout: Layout, arming: Arming, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "_TAIL", 300)
    many: list[tuple[Any, ...]] = [(1, "10.0.0.7", SCRIPT, 200)] + [(2, "10.0.0.9", "/store/x", 200)] * 50
    assert seen(layout, arming, *many) == []


def test_missing_log_is_no_error(layout: Layout, arming: Arming) -> None:
    assert trail.requests_seen(layout, load_configuration(layout), arming) == []
