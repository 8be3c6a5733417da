# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Registry files as regedit reads them."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import regfile
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import DWORD, MULTI_SZ, SZ, Change
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.registry import by_hive

KEY = r"HKEY_LOCAL_MACHINE\SOFTWARE\Lab"


def values(lines: str, header: str = "Windows Registry Editor Version 5.00") -> regfile.Values:
    (change,) = regfile.parse(f"{header}\r\n\r\n[{KEY}]\r\n{lines}".encode("utf-16"), "lab.reg")
    return change.values


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('"a"="text";comment', (SZ, regfile.text("text"))),
        ('"a"="text"\t\t; comment', (SZ, regfile.text("text"))),
        ('"a"="text;no comment"', (SZ, regfile.text("text;no comment"))),
        ('"a"="text #no comment"', (SZ, regfile.text("text #no comment"))),
        ('"a"=dword:00000004;comment', (DWORD, b"\4\0\0\0")),
        ('"a"=dword:1234 ;5678', (DWORD, b"\x34\x12\0\0")),
        ('"a"=dword:4444', (DWORD, b"\x44\x44\0\0")),
        ('"a"=- ; gone', None),
        ('"a"=hex:', (3, b"")),
        ('"a"=hex:1,ff ,0a,', (3, b"\1\xff\n")),
        ('"a"=hex(b):01,\\;comment\r\n  02,\\\r\n  ;comment\r\n  03', (11, b"\1\2\3")),
        ('"a"=hex:01,\\\r\n\r\n  02', (3, b"\1\2")),
        ('#"b"="out"\r\n    #"c"="out"\\\r\n"a"="in"', (SZ, regfile.text("in"))),
        ('"a"="next\u2028line\x0b"', (SZ, regfile.text("next\u2028line\x0b"))),
        ('"a"="hex:\\\\"', (SZ, regfile.text("hex:\\"))),
    ],
)
def test_value(line: str, value: regfile.Value | None) -> None:
    assert values(line) == {"a": value}


@pytest.mark.parametrize(
    "line",
    [
        '"a"=dword:0x123',
        '"a"=dword:123456789',
        '"a"=dword:',
        '"a"=dword:-1',
        '"a"=dword:1_0',
        '"a"=dword:00000003#comment',
        '"a"="text"#comment',
        '"a"=hex(7):4c,00,\\\r\n  #comment\r\n  63,00,00,00',
        '"a"="text',
        '"a"="foo"bar"',
        '"a"=hex:100',
        '"a"=hex:0x1',
        '"a"=hex:01\\\r\n,02',
        '"a"=hex(123456789):00',
        '"a"=\\"text\\"',
        'a="text"',
    ],
)
def test_line_that_windows_does_not_take_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(IdentityError, match=r"^lab\.reg:4: "):
        values(line)


def test_key_with_a_comment_and_lines_that_end_with_a_carriage_return() -> None:
    assert regfile.parse(f"REGEDIT4\r\r[-{KEY}] ; gone\r[{KEY}]\r".encode(), "lab.reg") == [
        Change(KEY, delete=True),
        Change(KEY),
    ]


def test_old_files_hold_strings_in_ansi() -> None:
    assert values('"a"=hex(7):61,00,e4,00,00', "REGEDIT4") == {"a": (MULTI_SZ, "a\0ä\0\0".encode("utf-16-le"))}


@pytest.mark.parametrize("text", ["one\r\ntwo", "tab\t", 'quotes " and \\', "plain", "ends in \\"])
def test_export_is_read_back(text: str) -> None:
    shown = regfile.HEADER + regfile.show(KEY, {"a": (SZ, regfile.text(text))})
    assert regfile.parse(shown.encode("utf-16"), "export") == [Change(KEY, values={"a": (SZ, regfile.text(text))})]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("multi", "abc"),
        ("multi", ["a", "", "b"]),
        ("multi", [["a"]]),
        ("string", ["a"]),
        ("expand", {"a": 1}),
        ("dword", 1.5),
        ("dword", -1),
        ("dword", 1 << 32),
        ("dword", None),
        ("qword", "many"),
        ("binary", 16),
        ("binary", "abc"),
    ],
)
def test_data_that_does_not_fit_its_type_is_refused(kind: str, data: Any) -> None:
    with pytest.raises(IdentityError, match=f"KEY!name: .* is not data of type {kind}"):
        regfile.encode(kind, data, "KEY!name")


def test_list_of_texts() -> None:
    assert regfile.encode("multi", ["a", "bc"], "x") == (MULTI_SZ, "a\0bc\0\0".encode("utf-16-le"))
    assert regfile.encode("dword", "0x10", "x") == (DWORD, struct.pack("<I", 16))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(rf"{KEY}\{'x' * 256}"), "255 characters"),
        (Change(KEY + r"\x" * 520), "512 deep"),
        (Change(f"{KEY}\\a\0b"), "NUL"),
        (Change(KEY, values={"x" * 16384: None}), "16383 characters"),
        (Change(KEY, values={"\ud800": None}), "surrogate"),
    ],
)
def test_name_that_windows_does_not_allow_is_refused(change: Change, said: str) -> None:
    with pytest.raises(IdentityError, match=said):
        by_hive([change])


def test_longest_name_is_allowed() -> None:
    assert by_hive([Change(rf"{KEY}\{'x' * 255}", values={"x" * 16383: None})])
