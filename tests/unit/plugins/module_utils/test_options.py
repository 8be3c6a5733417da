# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One field of a dataclass is an option: its argument spec, its documentation and its value all come from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import Answers
from ansible_collections.reimage.lab.plugins.module_utils.options import argument_spec, documentation, option, read, secrets


@dataclass(frozen=True)
class Wheel:
    code: str = option("Of its lock.", secret=True)
    size: int = option("Its size in inches.", 26)


@dataclass(frozen=True)
class Bicycle:
    name: str = option("Whose it is.")
    spokes: Sequence[str] = option("What they are made of.", kind="list")
    brake: str = option("Its kind.", "rim", choices=("rim", "disc"))
    light: bool = option("Whether it has one.", True)
    bag: str | None = option("A folder.", None, kind="path")
    first: Wheel = option("The front one.", Wheel(code=""), of=Wheel)
    others: Sequence[Wheel] = option(["Any others.", "In their order."], (), of=Wheel)
    key: str = option("Where it hangs.", "", secret=False)
    rides: int = 0  # which is no option


WHEEL = {"size": {"type": "int", "default": 26}, "code": {"type": "str", "required": True, "no_log": True}}


def test_argument_spec_is_what_ansible_takes() -> None:
    assert argument_spec(Bicycle) == {
        "name": {"type": "str", "required": True},
        "spokes": {"type": "list", "elements": "str", "required": True},
        "brake": {"type": "str", "choices": ["rim", "disc"], "default": "rim"},
        "light": {"type": "bool", "default": True},
        "bag": {"type": "path"},
        "first": {"type": "dict", "options": WHEEL},
        "others": {"type": "list", "elements": "dict", "default": [], "options": WHEEL},
        "key": {"type": "str", "default": "", "no_log": False},
    }


def test_documentation_says_the_same_and_what_it_is_for() -> None:
    found = documentation(Bicycle)
    assert found["others"] == {
        "description": ["Any others.", "In their order."],
        "type": "list",
        "elements": "dict",
        "default": [],
        "suboptions": {
            "size": {"description": "Its size in inches.", "type": "int", "default": 26},
            "code": {"description": "Of its lock.", "type": "str", "required": True},
        },
    }
    assert found["key"] == {"description": "Where it hangs.", "type": "str", "default": ""}


@pytest.mark.parametrize("nothing", [{}, {"brake": None, "light": None, "first": None, "others": None}, {"brake": ""}])
def test_option_that_is_not_given_has_its_default(nothing: dict[str, Any]) -> None:
    assert read(Bicycle, {"name": "", "spokes": [], **nothing}) == Bicycle("", [])


def test_what_ansible_lets_through_becomes_objects() -> None:
    given = {"name": "Ada's", "spokes": "steel", "light": "no", "first": {"code": 17}, "others": [{"size": "20", "code": "b"}]}
    checked = ArgumentSpecValidator(argument_spec(Bicycle)).validate(given)
    assert not checked.error_messages
    found = read(Bicycle, checked.validated_parameters)
    assert found == Bicycle("Ada's", ["steel"], light=False, first=Wheel("17"), others=[Wheel("b", 20)])
    assert sorted(secrets(found)) == ["17", "b"]
    assert "17" not in repr(found)


def test_secrets_of_a_windows_are_all_that_are_declared_secret() -> None:
    account = {"name": "technician", "password": "one"}
    join = {"domain": "lab.test", "username": "joiner", "password": "two", "offline_blob": "three"}
    given = {"computer_name": "PC-1", "product_key": "four", "accounts": [account], "join": join, "ssh_keys": ["public"]}
    assert sorted(secrets(read(Answers, given))) == ["four", "one", "three", "two"]
