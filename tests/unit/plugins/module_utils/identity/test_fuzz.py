# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fuzzing, with a fixed seed: whatever a registry file, an answer file or an INF holds, it is read, or there is one clear error.

A traceback is the fault looked for. C(REIMAGE_FUZZ) makes it longer than in CI.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import inf, regfile, template
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import from_options
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.masking import masked
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.registry import by_hive

from .test_template import OWN

ROUNDS = int(os.environ.get("REIMAGE_FUZZ", "1000"))
REG = r"""Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\Lab] ; comment
@="default"
"text"="quote \" and \\ back" ; comment
"number"=dword:0000002a
"gone"=-
"list"=hex(7):61,00,00,00,\
  62,00,\ ; comment
  00,00,00,00
[-HKEY_LOCAL_MACHINE\SOFTWARE\Lab]
""".replace("\n", "\r\n")
PIECES = [b"[", b"]", b'"', b"\\", b"\\\r\n", b"=", b";", b"#", b"hex(", b"dword:", b",", b"%", b"-"]
PIECES += [b"\0", b"\xff", b"\r", b"\xd8", b"9" * 30]
TARGET = inf.Target("amd64", (10, 0, 22631))


def mutations(data: bytes) -> Iterator[bytes]:
    """Yield what a few edits make of some bytes: pieces put in or over, parts removed, repeated or cut off."""
    choice = random.Random(16)
    for _number in range(ROUNDS):
        found = bytearray(data)
        for _edit in range(choice.randint(1, 6)):
            place, length = choice.randrange(len(found) + 1), choice.randrange(20)
            kind = choice.randrange(5)
            if kind == 0:
                found[place:place] = choice.choice(PIECES)
            elif kind == 1:
                found[place : place + length] = choice.choice(PIECES)
            elif kind == 2:
                del found[place : place + length]
            elif kind == 3:
                found[place:place] = found[place : place + length]
            elif choice.randrange(4) == 0:
                del found[place:]
        yield bytes(found)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("header", ["Windows Registry Editor Version 5.00", "REGEDIT4"])
def test_registry_files(encoding: str, header: str) -> None:
    text = REG.replace("Windows Registry Editor Version 5.00", header)
    assert len(regfile.parse(text.encode(encoding), "lab.reg")) == 2
    for data in mutations(text.encode(encoding)):
        try:
            changes = regfile.parse(data, "lab.reg")
        except IdentityError as error:
            assert str(error).startswith("lab.reg:")
            continue
        try:
            by_hive(changes)
        except IdentityError:
            continue
        for change in changes:
            shown = regfile.HEADER + regfile.show(change.key, {name: value for name, value in change.values.items() if value})
            assert regfile.parse(shown.encode("utf-16", errors="surrogatepass"), "shown")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
@pytest.mark.parametrize("name", ["e1d.inf", "rt640x64.inf", "iastorvd.inf"])
def test_infs(name: str, encoding: str) -> None:
    text = (Path(__file__).parent / "infs" / name).read_text(encoding="ascii")
    for data in mutations(text.encode(encoding)):
        try:
            found = inf.parse(data, name, TARGET)
        except IdentityError as error:
            assert str(error).startswith(f"{name}: ")
            continue
        assert all(isinstance(one, str) for one in found.ids)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_answer_file(encoding: str) -> None:
    answers = from_options({"computer_name": "PC-1", "time_zone": "UTC", "drivers": True, "join": {"workgroup": "LAB"}})
    refused = 0
    for data in mutations(OWN.encode(encoding)):
        masked(data, ["secret"])
        try:
            made = template.fill(template.decode(data, "fuzz"), "fuzz", answers.settled(template=True), "amd64")
        except IdentityError:
            refused += 1
            continue
        assert ">PC-1<" in made
    assert 0 < refused < ROUNDS
