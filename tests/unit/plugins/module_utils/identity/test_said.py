# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine in production says of itself: nothing of it is believed to be well-formed."""

from __future__ import annotations

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.said import Said, parse


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('pc-01\n{"hostname": "pc-01", "image": "a/1"}\n', Said("pc-01", "pc-01", "a/1")),
        ('PC-01\r\n{\r\n"hostname": "pc-01",\r\n"image": "a/1"}\r\n', Said("PC-01", "pc-01", "a/1")),
        ("pc-01\ncat: no such file\n", Said("pc-01")),
        ("pc-01", Said("pc-01")),
        ("", Said()),
        ('pc-01\n["hostname"]', Said("pc-01")),
        ('pc-01\n{"hostname": 7, "image": ["a"]}', Said("pc-01")),
        ("pc-01\n" + "[" * 100_000, Said("pc-01")),
        ('pc-01\n{"hostname": "' + "x" * 256 + '", "image": "a\\u001b[2J"}', Said("pc-01")),
        ("\x1b[2J\n{}", Said()),
    ],
)
def test_said(text: str, said: Said) -> None:
    assert parse(text) == said
