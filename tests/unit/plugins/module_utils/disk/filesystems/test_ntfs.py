# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ntfs-3g's tools say of a volume. They are mocked: only a Windows that loses power leaves each kind of journal."""

from __future__ import annotations

from subprocess import CompletedProcess

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems import ntfs


@pytest.mark.parametrize(
    ("probe", "info", "states"),
    [(0, 0, []), (0, 1, ["dirty"]), (14, 0, ["hibernated"]), (14, 1, ["hibernated", "dirty"]), (15, 0, ["dirty"])],
)
def test_state_of_a_volume(monkeypatch: pytest.MonkeyPatch, probe: int, info: int, states: list[str]) -> None:
    codes = {"ntfs-3g.probe": probe, "ntfsinfo": info}
    monkeypatch.setattr(ntfs, "run", lambda words, **_unused: CompletedProcess(words, codes[words[0]]))
    assert ntfs.states("/dev/sda1") == states
