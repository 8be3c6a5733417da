# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One rule for names and one for MACs: whoever takes one from outside takes the same, and refuses the same by name."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import InvalidNameError, ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.fleet.manifest import read_manifest
from ansible_collections.reimage.lab.plugins.module_utils.identity.interfaces import interfaces_from
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.identity import check as check_linux
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import from_options
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.offline_join import Domain, provision
from ansible_collections.reimage.lab.plugins.module_utils.names import check_computer_name, check_dns_name, check_host_name

Check = Callable[[str], None]


@pytest.mark.parametrize(
    ("check", "name"),
    [
        *((check_host_name, name) for name in ("a", "pc-01", "7", "X" * 63)),
        *((check_dns_name, name) for name in ("pc-01", "pc-01.example.org", "1.example", ".".join(["x" * 62] * 4))),
        *((check_computer_name, name) for name in ("P", "PC-0042", "x" * 15, "server1")),
    ],
)
def test_usual_names_pass(check: Check, name: str) -> None:
    check(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a_b", "a.b", "a b", "a\n", "Köln", "x" * 64, "../x", "\u0661"])
@pytest.mark.parametrize("check", [check_host_name, check_computer_name])
def test_name_that_no_machine_can_have_is_refused(check: Check, name: str) -> None:
    with pytest.raises(InvalidNameError, match=r"cannot be the name of a .* letters, digits and dashes"):
        check(name)


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a_b.org", "10.0.0.300", "10.0.0", "7", ".".join(["x" * 63] * 4)])
def test_name_that_dns_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError, match="is not a DNS name"):
        check_dns_name(name)


@pytest.mark.parametrize("name", ["x" * 16, "12345"])
def test_name_that_netbios_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError, match="1 to 15 letters, digits and dashes, not all digits"):
        check_computer_name(name)


@pytest.mark.parametrize("name", ["SYSTEM", "network", "Gw"])
def test_name_that_windows_reserves_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError, match="Windows reserves it, so choose another"):
        check_computer_name(name)
    check_host_name(name)


def manifest(folder: Path, name: str, mac: str, address: str = "") -> tuple[str, ...]:
    path = folder / "manifest.csv"
    path.write_text(f"name,mac,address\n{name},{mac},{address}\n")
    return read_manifest(path)[0].macs


@pytest.mark.parametrize("mac", ["52:54:00:AB:cd:01", "52-54-00-ab-CD-01", "5254.00AB.CD01", "525400abcd01"])
def test_every_notation_of_a_mac_is_the_same_card_everywhere(tmp_path: Path, mac: str) -> None:
    known = "52:54:00:ab:cd:01"
    card = {"mac": mac, "addresses": ["192.0.2.7/24"]}
    assert manifest(tmp_path, "pc-01", mac) == (known,)
    assert interfaces_from([card])[0].mac == known
    assert from_options({"computer_name": "PC-1", "interfaces": [card]}).interfaces[0].mac == known


@pytest.mark.parametrize("mac", ["52:54:00:77:01", "01:00:5e:00:00:01"])
def test_address_that_no_card_has_is_refused_everywhere(tmp_path: Path, mac: str) -> None:
    for take in (
        lambda: manifest(tmp_path, "pc-01", mac),
        lambda: interfaces_from([{"mac": mac, "addresses": ["192.0.2.7/24"]}]),
    ):
        with pytest.raises(ReimageError, match=rf"'{mac}' is not (a|the) MAC address"):
            take()


def test_name_is_refused_with_the_option_or_the_line_that_it_stands_in(tmp_path: Path) -> None:
    join = {"domain": "lab_example", "username": "joiner", "password": "x"}
    account = Domain("lab", "joiner", "x")
    for take, said in (
        (lambda: manifest(tmp_path, "a_b", "525400770101"), r"manifest\.csv:2: 'a_b' cannot be the name"),
        (lambda: manifest(tmp_path, "a", "525400770101", "10.0.0.x_"), r"manifest\.csv:2: a: '10\.0\.0\.x_' is neither"),
        (lambda: check_linux("a_b", ""), "hostname: 'a_b' cannot be the name"),
        (lambda: from_options({"computer_name": "server"}), "computer_name: 'server' cannot be the name"),
        (lambda: from_options({"computer_name": "PC-1", "join": join}), "join: domain: 'lab_example' is not a DNS name"),
        (lambda: provision(account, "a_b", tmp_path, "1"), "computer_name: 'a_b' cannot be the name"),
        (lambda: provision(account, "PC-1", tmp_path, "1"), "domain: 'lab' is not the whole DNS name"),
    ):
        with pytest.raises(ReimageError, match=said):
            take()
