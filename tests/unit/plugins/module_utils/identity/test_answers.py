# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Windows cannot become is refused by name, before a disk is looked at."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import check_for, from_options

ACCOUNT = {"name": "technician", "password": "correct horse"}
CARD = {"mac": "52:54:00:12:34:56", "addresses": ["192.0.2.17/24"]}


def answers(**more: Any) -> Any:
    return from_options({"computer_name": "PC-0042", **more})


def test_all_that_windows_takes_is_taken() -> None:
    found = answers(
        time_zone="W. Europe Standard Time",
        locale="de-DE",
        product_key="aaaaa-bbbbb-ccccc-ddddd-eeeee",
        join={"domain": "lab.test", "ou": "OU=Lab,DC=lab,DC=test", "username": "joiner", "password": "x"},
        accounts=[ACCOUNT],
        auto_logon={"account": "Technician"},
        first_logon_commands=["x" * 1024],
        specialize_commands=["x" * 259],
        interfaces=[{**CARD, "mac": "52-54-00-12-34-56", "gateway": "192.0.2.1", "dns": ["2001:db8::53"]}],
    )
    assert found.product_key == "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"
    assert found.interfaces[0].mac == "52:54:00:12:34:56"


@pytest.mark.parametrize("locale", ["sr-Latn-RS", "es-419", "zh-CN", "haw-US"])
def test_locales_of_windows(locale: str) -> None:
    assert answers(locale=locale).locale == locale


@pytest.mark.parametrize("name", ["", "PC-12345678901234", "12345", "-PC", "PC-", "PC 1", "PC_1", "PC.1", "Köln-1", "*"])
def test_names_that_a_computer_cannot_have(name: str) -> None:
    with pytest.raises(IdentityError, match="computer_name"):
        answers(computer_name=name)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"time_zone": "Europe/Berlin"}, "time_zone: Windows knows no 'Europe/Berlin'"),
        ({"time_zone": "W. Europe Standart Time"}, "did you mean W. Europe Standard Time"),
        ({"locale": "german"}, "locale: 'german' is not"),
        ({"locale": "xx-DE"}, "locale: Windows knows no language"),
        ({"product_key": "AAAAA-BBBBB"}, "product_key"),
        ({"specialize_commands": ["x" * 260]}, "specialize_commands: .* 259"),
        ({"specialize_commands": [""]}, "specialize_commands"),
        ({"first_logon_commands": ["x"]}, "first_logon_commands: .* auto_logon"),
        (
            {"accounts": [ACCOUNT], "auto_logon": {"account": "technician"}, "first_logon_commands": ["x" * 1025]},
            "first_logon_commands: .* 1024",
        ),
        ({"auto_logon": {"account": "nobody"}}, "auto_logon: 'nobody'"),
        ({"accounts": [{**ACCOUNT, "name": "pc-0042"}]}, "the name of the computer too"),
        ({"accounts": [ACCOUNT, {**ACCOUNT, "name": "TECHNICIAN"}]}, "declared twice"),
        ({"accounts": [{**ACCOUNT, "name": "a/b"}]}, "accounts: 'a/b'"),
        ({"accounts": [{**ACCOUNT, "password": ""}]}, "needs a password"),
        ({"accounts": [{**ACCOUNT, "name": "Administrator", "display_name": "Chief"}]}, "leave display_name and group out"),
        ({"accounts": [{**ACCOUNT, "name": "administrator", "group": "Users"}]}, "leave display_name and group out"),
        ({"join": {"workgroup": "LAB", "domain": "lab.test"}}, "not in both"),
        ({"join": {"domain": "lab.test"}}, "needs username and password"),
        ({"join": {"offline_blob": "AA", "username": "joiner"}}, "needs no credentials"),
        ({"join": {"ou": "OU=Lab"}}, "only with a domain"),
        ({"join": {"domain": "lab.test", "username": "a", "password": "b", "ou": "Lab"}}, "distinguished name"),
        ({"join": {"workgroup": "x" * 16}}, "workgroup"),
        ({"interfaces": [{**CARD, "mac": "52:54:00:12:34"}]}, "is not a MAC address"),
        ({"interfaces": [{**CARD, "addresses": ["192.0.2.17"]}]}, "needs a prefix"),
        ({"interfaces": [{**CARD, "addresses": ["192.0.2.300/24"]}]}, "192.0.2.300"),
        ({"interfaces": [{**CARD, "gateway": "198.51.100.1"}]}, "in none of its networks"),
        ({"interfaces": [{**CARD, "dns": ["nameserver"]}]}, "nameserver"),
        ({"remoting": "telnet"}, "remoting: 'telnet'"),
        ({"product_key": ""}, "product_key: it is empty"),
        ({"product_key": "   "}, "product_key"),
        ({"accounts": [{**ACCOUNT, "name": "Guest"}]}, "accounts: 'Guest' is one of Windows' own"),
        ({"accounts": [{**ACCOUNT, "name": "SYSTEM"}]}, "accounts: 'SYSTEM' is one of Windows' own"),
        ({"accounts": [{**ACCOUNT, "name": "network service"}]}, "accounts: 'network service' is one of Windows' own"),
        ({"accounts": [ACCOUNT], "auto_logon": {"account": "technician", "count": 0}}, "auto_logon: count .* not 0"),
        ({"accounts": [ACCOUNT], "auto_logon": {"account": "technician", "count": -1}}, "auto_logon: count .* not -1"),
        ({"accounts": [{**ACCOUNT, "password": "a\x07b"}]}, r"accounts: password: .* control character U\+0007"),
        ({"full_name": "a\nb"}, r"full_name: .* U\+000A"),
        ({"specialize_commands": ["ver\0"]}, r"specialize_commands: .* U\+0000"),
        ({"remoting": "ssh", "ssh_keys": ["ssh-ed25519 AAAA\n'@\nRemove-Item C:"]}, r"ssh_keys: .* U\+000A"),
    ],
)
def test_what_cannot_be_is_refused_by_name(more: dict[str, Any], said: str) -> None:
    with pytest.raises(IdentityError, match=said):
        answers(**more)


def test_windows_11_wants_an_account() -> None:
    check_for(answers(accounts=[ACCOUNT]), 22631)
    check_for(answers(), 19045)
    check_for(answers(), 26100, server=True)
    check_for(answers(), 26100, has_account=True)
    with pytest.raises(IdentityError, match="Microsoft account"):
        check_for(answers(), 22631)
    with pytest.raises(IdentityError, match="Microsoft account"):
        check_for(answers(accounts=[{**ACCOUNT, "name": "Administrator"}]), 22631)


def test_defaults_that_depend_on_an_own_file() -> None:
    alone, filled = answers().settled(template=False), answers().settled(template=True)
    assert (alone.remoting, alone.device_encryption) == ("winrm", False)
    assert (filled.remoting, filled.device_encryption) == ("none", True)
    declared = answers(remoting="ssh", device_encryption=False).settled(template=True)
    assert (declared.remoting, declared.device_encryption) == ("ssh", False)


@pytest.mark.parametrize(
    ("more", "languages", "expected"),
    [
        ({"locale": "de-AT"}, ["de-DE", "en-US"], ("de-DE", "de-AT", "de-AT")),
        ({"locale": "es-AR"}, ["es-MX"], ("es-MX", "es-AR", "es-AR")),
        ({"locale": "de-AT"}, ["en-US", "fr-FR"], ("en-US", "de-AT", "de-AT")),
        ({"locale": "de-DE"}, [], ("de-DE", "de-DE", "de-DE")),
        (
            {"locale": "de-CH", "ui_language": "en-US", "keyboard": "0807:00000807"},
            ["en-US"],
            ("en-US", "0807:00000807", "de-CH"),
        ),
        ({"region": "de-CH"}, ["en-US"], ("", "", "de-CH")),
    ],
)
def test_languages_that_the_image_has(more: dict[str, Any], languages: list[str], expected: tuple[str, ...]) -> None:
    found = answers(**more).settled(template=False, languages=languages)
    assert (found.ui_language, found.keyboard, found.region) == expected


def test_language_that_the_image_does_not_have_is_refused() -> None:
    with pytest.raises(IdentityError, match="ui_language: the image does not have de-AT, but de-DE, en-US"):
        answers(ui_language="de-AT").settled(template=False, languages=["de-DE", "en-US"])


@pytest.mark.parametrize("name", ["ui_language", "keyboard", "region"])
def test_strange_languages_are_refused_by_name(name: str) -> None:
    with pytest.raises(IdentityError, match=f"{name}: 'german' is not"):
        answers(**{name: "german"})
