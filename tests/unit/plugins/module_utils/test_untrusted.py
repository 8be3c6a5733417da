# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others wrote: right values pass as they are, each wrong one is refused, and nothing that is shown moves a cursor."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import (
    UntrustedError,
    printable,
    read_number,
    read_object,
    read_text,
    read_tree,
    read_whole,
    read_yes_or_no,
)

# Colours, a title, a clear screen in one byte, a bell, text that runs backwards, a line that hides another.
HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202edne\rover"


def test_text_that_is_shown_moves_no_cursor_and_changes_no_colour() -> None:
    shown = printable(HOSTILE)
    assert shown.isprintable()
    assert [word for word in ("red", "title", "dne", "over") if word not in shown] == []


def test_text_of_people_is_left_alone() -> None:
    for text in ("Technikerin Jürgens", "Łódź, 教室 3", "50 %", ""):
        assert printable(text) == text
        assert read_text(text) == text


def test_lines_stay_only_where_they_are_wanted() -> None:
    assert printable("one\r\ntwo\tthree") == "one  two three"
    assert printable("one\r\ntwo\tthree", lines=True) == "one\ntwo\tthree"
    assert printable("x" * 100, 10) == "x" * 10


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (read_whole, 0, 0),
        (read_whole, (1 << 63) - 1, (1 << 63) - 1),
        (read_number, 7, 7.0),
        (read_number, 0.25, 0.25),
        (read_yes_or_no, False, False),
        (read_object, '{"a": [-1, -0.5, null, "\\u001bx"]}', {"a": [-1, -0.5, None, " x"]}),
    ],
)
def test_right_value_is_read(read: Callable[[Any], Any], value: Any, expected: Any) -> None:
    assert read(value) == expected


@pytest.mark.parametrize(
    ("read", "value"),
    [
        *((read_whole, value) for value in (True, -1, 1.0, "1", None, [], 1 << 70, float("inf"))),
        *((read_number, value) for value in (True, -0.1, "1", None, {}, 1 << 70, float("inf"), float("nan"))),
        *((read_yes_or_no, value) for value in (0, "yes", None, [])),
        *((read_text, value) for value in (7, None, ["x"], b"x", "x" * 70000)),
        *((read_object, text) for text in ("", "[]", "7", "nothing", "{", '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}')),
        (read_object, '{"a": ' + "[" * 100 + "]" * 100 + "}"),
        (read_object, "[" * 100000),
        (read_object, '{"a": 1' + "0" * 30 + "}"),
        (read_tree, {"a": (1, 2)}),
        (read_tree, {7: "a"}),
    ],
)
def test_wrong_value_is_refused_in_one_line_that_can_be_shown(read: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(UntrustedError) as error:
        read(value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 200


def test_refusal_shows_no_control_characters() -> None:
    with pytest.raises(UntrustedError) as error:
        read_whole(HOSTILE)
    assert str(error.value).isprintable()
