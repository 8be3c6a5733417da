# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text format of registry files, as regedit reads and writes it.

Source: Microsoft, "How to add, modify, or delete registry subkeys and values by using a .reg file".
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError

NONE, SZ, EXPAND_SZ, BINARY, DWORD, MULTI_SZ, QWORD = 0, 1, 2, 3, 4, 7, 11
NAMES = {"none": NONE, "string": SZ, "expand": EXPAND_SZ, "binary": BINARY, "dword": DWORD, "multi": MULTI_SZ, "qword": QWORD}
HEADER = "Windows Registry Editor Version 5.00\n\n"
_HEADERS = ("Windows Registry Editor Version 5.00", "REGEDIT4")
# A comment begins at a semicolon; at a number sign only where a line begins that does not continue another.
_VALUE = re.compile(r'(?:@|"(?P<name>(?:[^"\\]|\\.)*)")[ \t]*=(?P<data>.*)')
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:;.*)?')
_DWORD = re.compile(r"dword:[ \t]*([0-9a-f]{1,8})", re.IGNORECASE)
_HEX = re.compile(r"hex(?:\((?P<type>[0-9a-f]{1,8})\))?:(?P<bytes>.*)", re.IGNORECASE)
_BYTE = re.compile(r"[ \t]*([0-9a-f]{1,2})[ \t]*", re.IGNORECASE)
_END_OF_LINE = re.compile(r"\r\n|\r|\n")
_UNPRINTABLE = re.compile(r"[\0-\x1f\x7f]")
_SPACE = " \t\0\x1a"

# A value: its type and its bytes as they are in a hive. None means that it is to be deleted.
Value = Tuple[int, bytes]
Values = Dict[str, Optional[Value]]


@dataclass
class Change:
    """What is to be true of one key: that it does not exist, or that these values are in it."""

    key: str
    delete: bool = False
    values: Values = field(default_factory=dict)


def read(path: Path) -> list[Change]:
    """Read a C(.reg) file from where it is."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise IdentityError(f"{path}: {error.strerror}") from error


def parse(data: bytes, name: str) -> list[Change]:
    """Read a C(.reg) file.

    :param name: What to call it in an error.
    :raises IdentityError: It is not one, or a line of it cannot be understood.
    """
    text, old = _decode(data, name)
    changes: list[Change] = []
    for number, line in _lines(text):
        if line.startswith("["):
            path, bracket, rest = line[1:].rpartition("]")
            if not bracket or rest.strip(_SPACE)[:1] not in ("", ";"):
                raise IdentityError(f"{name}:{number}: a key must be in brackets: {line[:80]}")
            changes.append(Change(path.lstrip("-"), delete=path.startswith("-")))
            continue
        found = _VALUE.fullmatch(line)
        if not found or not changes or changes[-1].delete:
            raise IdentityError(f"{name}:{number}: this is neither a key nor a value of a key: {line[:80]}")
        try:
            value = _value(found["data"].strip(_SPACE), old=old)
        except ValueError as error:
            raise IdentityError(f"{name}:{number}: {error}") from error
        changes[-1].values[_unescape(found["name"] or "")] = value
    return changes


def declared(item: Mapping[str, Any]) -> Change:
    """Return what a mapping of C(path), C(name), C(type), C(data) and C(state) asks for."""
    name = str(item.get("name") or "")
    if item.get("state", "present") == "absent":
        return Change(item["path"], values={name: None}) if "name" in item else Change(item["path"], delete=True)
    if item.get("data") is None and "name" not in item:
        return Change(item["path"])
    return Change(item["path"], values={name: encode(item.get("type") or "string", item.get("data"), f"{item['path']}!{name}")})


def encode(kind: str, data: Any, name: str) -> Value:
    """Return a value as it is in a hive.

    :param kind: One of C(NAMES).
    :raises IdentityError: The data does not fit the kind.
    """
    if kind not in NAMES:
        raise IdentityError(f"{name}: type {kind!r} is unknown; there is {', '.join(NAMES)}")
    number = NAMES[kind]
    try:
        if number in (SZ, EXPAND_SZ):
            return number, text(_one(data))
        if number == MULTI_SZ:
            return number, _many(data)
        if number == DWORD:
            return number, struct.pack("<I", _number(data))
        if number == QWORD:
            return number, struct.pack("<Q", _number(data))
        if not isinstance(data, (str, type(None))):
            raise TypeError("write the digits in quotation marks")
        return number, bytes.fromhex((data or "").replace(",", " "))
    except (ValueError, TypeError, struct.error) as error:
        raise IdentityError(f"{name}: {data!r} is not data of type {kind}: {error}") from error


def show(path: str, values: Mapping[str, Value] | None) -> str:
    """Return a key as a C(.reg) file shows it; C(None) for one that does not exist."""
    if values is None:
        return f"[-{path}]\n"
    lines = [f"[{path}]"]
    for name, value in sorted(values.items(), key=lambda item: item[0].lower()):
        left = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' if name else "@"
        lines.append(f"{left}={_show(value)}")
    return "\n".join(lines) + "\n"


def text(value: str) -> bytes:
    """Return a string as it is in a hive."""
    return value.encode("utf-16-le") + b"\0\0"


def untext(data: bytes) -> str:
    """Return the string that is in a hive."""
    return data[: len(data) // 2 * 2].decode("utf-16-le", errors="replace").split("\0", 1)[0]


def _decode(data: bytes, name: str) -> tuple[str, bool]:
    if data[:2] == b"\xff\xfe":
        whole = data[2:].decode("utf-16-le", errors="replace")
    else:
        try:
            whole = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            whole = data.decode("cp1252", errors="replace")
    first = _END_OF_LINE.split(whole.lstrip(), maxsplit=1)[0].strip()
    if first not in _HEADERS:
        raise IdentityError(f"{name}:1: this is not a registry file: it begins with {first[:40]!r}, not with {_HEADERS[0]!r}")
    return whole, first == _HEADERS[1]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, continued ones joined, with the number of the first."""
    joined, start = "", 0
    for number, raw in enumerate(_END_OF_LINE.split(text), 1):
        line = raw.strip(_SPACE)
        if not line or line[0] == ";" or (line[0] == "#" and not joined) or line in _HEADERS:
            continue
        if not joined:
            start = number
            value = _VALUE.fullmatch(line)
            if not value or not _HEX.fullmatch(value["data"].strip(_SPACE)):
                yield number, line
                continue
            joined, line = line[: value.start("data")], value["data"]
        line = line.split(";", 1)[0].rstrip()
        if line.endswith("\\"):
            # Windows continues behind a comma only; elsewhere the backslash stays, and is no byte.
            joined += line[:-1] if line[:-1].rstrip().endswith((",", ":")) else line
        else:
            yield start, joined + line
            joined = ""
    if joined:
        yield start, joined


def _value(data: str, *, old: bool) -> Value | None:
    if data.startswith('"'):
        found = _STRING.fullmatch(data)
        if not found:
            raise ValueError(f"a string must end with a quotation mark, on its line: {data[:60]}")
        return SZ, text(_unescape(found[1]))
    data = data.split(";", 1)[0].rstrip()
    if data == "-":
        return None
    if data.lower().startswith("dword:"):
        found = _DWORD.fullmatch(data)
        if not found:
            raise ValueError(f"a dword has one to eight hexadecimal digits, and nothing before them: {data[:60]}")
        return DWORD, struct.pack("<I", int(found[1], 16))
    found = _HEX.fullmatch(data)
    if not found:
        raise ValueError(f"this is no data that a registry file can hold: {data[:60]}")
    kind = int(found["type"], 16) if found["type"] else BINARY
    content = _bytes(found["bytes"])
    if old and kind in (SZ, EXPAND_SZ, MULTI_SZ):
        content = content.decode("cp1252").encode("utf-16-le")
    return kind, content


def _bytes(digits: str) -> bytes:
    """Return bytes from pairs of hexadecimal digits; one comma may be left at the end."""
    parts = digits.split(",")
    if not parts[-1].strip():
        parts.pop()
    found = [_BYTE.fullmatch(part) for part in parts]
    if not all(found):
        wrong = next(part for part, match in zip(parts, found) if not match)
        raise ValueError(f"bytes are one or two hexadecimal digits each, with commas between: {wrong[:20]!r}")
    return bytes(int(match[1], 16) for match in found if match)


def _unescape(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)


def _number(data: Any) -> int:
    if not isinstance(data, (str, int)):
        raise TypeError("it takes a whole number")
    return int(data, 0) if isinstance(data, str) else int(data)


def _one(data: Any) -> str:
    if isinstance(data, (list, dict)):
        raise TypeError("it takes one text")
    return "" if data is None else str(data)


def _many(data: Any) -> bytes:
    if not isinstance(data, (list, tuple)):
        raise TypeError("it takes a list of texts")
    items = [_one(item) for item in data]
    if not all(items) or any("\0" in item for item in items):
        raise ValueError("an empty text, or a NUL in one, would end the list")
    return "".join(f"{item}\0" for item in items).encode("utf-16-le") + b"\0\0"


def _show(value: Value | None) -> str:
    if value is None:
        return "-"
    kind, data = value
    if kind == SZ and text(untext(data)) == data and not _UNPRINTABLE.search(untext(data)):
        return '"' + untext(data).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if kind == DWORD and len(data) == 4:
        return f"dword:{struct.unpack('<I', data)[0]:08x}"
    return ("hex:" if kind == BINARY else f"hex({kind:x}):") + ",".join(f"{byte:02x}" for byte in data)
