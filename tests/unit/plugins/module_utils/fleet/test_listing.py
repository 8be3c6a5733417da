# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.fleet.listing import list_records
from ansible_collections.reimage.lab.plugins.module_utils.fleet.states import advance, load_record, save_record

MACS = [f"52:54:00:77:01:{number:02x}" for number in range(20)]


def record(layout: Layout, mac: str, state: str = "booted") -> None:
    save_record(layout, advance(load_record(layout, mac), state))


def listed(layout: Layout) -> dict[str, str]:
    return json.loads((layout.states / "index.json").read_text())  # type: ignore[no-any-return]


def test_a_record_that_changed_has_another_version(layout: Layout) -> None:
    record(layout, MACS[0])
    record(layout, MACS[1])
    before = listed(layout)
    record(layout, MACS[1], "booted")
    after = listed(layout)
    assert list(after) == ["52-54-00-77-01-00.json", "52-54-00-77-01-01.json"]
    assert [after[name] == before[name] for name in after] == [True, False]


def test_all_of_many_that_come_at_once_are_listed(layout: Layout) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda mac: record(layout, mac), MACS))
    assert len(listed(layout)) == len(MACS)


def test_only_records_are_listed(layout: Layout) -> None:
    record(layout, MACS[0])
    (layout.states / "52-54-00-77-01-ff.json").symlink_to(layout.configuration)
    (layout.states / ".52-54-00-77-01-fe.json.abc~").touch()
    (layout.states / "notes.json").touch()
    (layout.states / "52-54-00-77-01-fd.json").mkdir()
    list_records(layout)
    assert list(listed(layout)) == ["52-54-00-77-01-00.json"]
