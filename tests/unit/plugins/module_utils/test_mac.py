# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.mac import dashed, parse_mac


@pytest.mark.parametrize(
    "text", ["52:54:00:AB:01:01", "52-54-00-ab-01-01", "5254.00AB.0101", "525400AB0101", " 52:54:00:ab:01:01\n"]
)
def test_usual_spellings_are_one_address(text: str) -> None:
    assert parse_mac(text) == "52:54:00:ab:01:01"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "52:54:00:77:01",
        "52:54:00:77:01:01:02",
        "52:54-00:77:01:01",
        "5254.0077:0101",
        "52.54.00.77.01.01",
        "52:54:00:77:01:0g",
        "../../etc/passwd",
        "\u0665\u06625400770101",
    ],
)
def test_malformed_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(ReimageError, match="is not a MAC address: write it like 52:54:00:77:01:01"):
        parse_mac(text)


@pytest.mark.parametrize("text", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"])
def test_address_that_no_machine_can_have_is_refused(text: str) -> None:
    with pytest.raises(ReimageError, match="group address, or all zero"):
        parse_mac(text)


def test_file_names_have_dashes() -> None:
    assert dashed("52:54:00:77:01:01") == "52-54-00-77-01-01"
