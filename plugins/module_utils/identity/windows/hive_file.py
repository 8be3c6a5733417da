# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bytes of a hive, as far as hivex does not look at them: whether they are whole, and the order of keys.

Source: M. Suhanov, "Windows registry file format specification". Offsets of cells are relative to the first bin, as in the file.
"""

from __future__ import annotations

import struct
from functools import reduce
from operator import xor
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError

BASE, BIN = 4096, 4096
BIG = 16344  # bytes that a value has in one cell, from minor version 4 on
_NONE = 0xFFFFFFFF
_UNIT = 8  # bytes; cells begin and end at a multiple of it
_NAME_IS_LATIN = 0x20
_ENTRY_SIZES = {b"lf": 8, b"lh": 8, b"li": 4, b"ri": 4}


class DamagedError(IdentityError):
    """A hive is cut or damaged."""


def check_head(data: bytes, name: str) -> None:
    """Raise C(IdentityError) if a file is no hive, or is cut or damaged in its head or its bins."""
    if data[:4] != b"regf":
        raise IdentityError(f"{name}: this is not a registry hive")
    if len(data) < BASE + BIN:
        raise DamagedError(f"{name}: this registry hive is cut off after {len(data)} bytes: capture the master again")
    if struct.unpack_from("<I", data, 508)[0] != checksum(data):
        raise DamagedError(f"{name}: this registry hive is damaged: the checksum of its head is wrong")
    major, minor, kind, layout, _root, size = struct.unpack_from("<6I", data, 20)
    if (major, kind, layout) != (1, 0, 1) or not 3 <= minor <= 6:
        raise IdentityError(f"{name}: registry hives of version {major}.{minor}, type {kind}, are not supported")
    if len(data) < BASE + size:
        raise DamagedError(
            f"{name}: this registry hive is cut off: it should have {BASE + size} bytes, and has {len(data)}: capture the master"
            " again"
        )
    for start, length in _bins(data, size):
        if length == 0:
            raise DamagedError(f"{name}: this registry hive is damaged: there is no bin at byte {BASE + start}")


def checksum(data: bytes | bytearray) -> int:
    """Return the checksum that the head of a hive, or of a log, should have."""
    words: int = reduce(xor, struct.unpack_from("<127I", data))
    return {0: 1, _NONE: _NONE - 1}.get(words, words)


def check(data: bytes, name: str) -> None:
    """Raise C(IdentityError) if a hive is cut or damaged anywhere: a cell, a key, a list or a value."""
    check_head(data, name)
    try:
        _Walk(data).all()
    except (DamagedError, struct.error) as error:
        raise DamagedError(f"{name}: this registry hive is damaged: {error}") from error


def minor_version(data: bytes | bytearray) -> int:
    """Return the version of the format; 5 since Windows XP."""
    return int(struct.unpack_from("<I", data, 24)[0])


def sort_keys(data: bytearray, key: int) -> None:
    """Put the keys in a key in the order that Windows wants, each with the right hash; hivex does so for some of ASCII alone.

    :param key: Where its cell is in the file.
    """
    walk = _Walk(data)
    count, start = struct.unpack_from("<I4xI", walk.cell(key - BASE, b"nk"), 20)
    slots = list(walk.slots(start)) if count else []
    found = sorted((walk.name(struct.unpack_from("<I", data, place)[0]), data[place : place + 4]) for _kind, place in slots)
    for (kind, place), (name, cell) in zip(slots, found):
        data[place : place + 4] = cell
        if kind == b"lh":
            struct.pack_into("<I", data, place + 4, _hash(name))
        elif kind == b"lf":
            data[place + 4 : place + 8] = bytes(ord(unit) if ord(unit) < 256 else 0 for unit in name[:4]).ljust(4, b"\0")


def upper(letter: str) -> str:
    """Return a character as Windows compares it: in upper case if that is one character whose lower case it is."""
    # So the sharp s, the dotless i, the micro sign and the final sigma stay. A few Greek letters have a title case only.
    return next((one for one in (letter.upper(), letter.title()) if len(one) == 1 and one.lower() == letter), letter)


def _hash(name: str) -> int:
    return reduce(lambda total, unit: (total * 37 + ord(unit)) & 0xFFFFFFFF, name, 0)


def _bins(data: bytes | bytearray, size: int) -> Iterator[tuple[int, int]]:
    """Yield where each bin begins and how long it is; 0 for one that is not there or wrong."""
    start = 0
    while start < size:
        mark, offset, length = struct.unpack_from("<4sII", data, BASE + start)
        right = mark == b"hbin" and offset == start and length and length % BIN == 0 and start + length <= size
        yield start, length if right else 0
        start += length if right else size


class _Walk:
    """A walk over all that belongs to a hive."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = data
        self._root, self._size = struct.unpack_from("<II", data, 36)
        self._starts = bytearray(
            self._size // _UNIT
        )  # for each unit: 1 if a cell that is in use begins there, 2 if it was visited
        for start, length in _bins(data, self._size):
            self._read_bin(start, length)

    def all(self) -> None:
        """Visit every key."""
        pending = [(self._root, _NONE)]
        while pending:
            key, parent = pending.pop()
            pending += [(below, key) for below in self._key(key, parent)]
            if self._starts[key // _UNIT] == 2:
                raise DamagedError(f"the key at {key} is in two keys")
            self._starts[key // _UNIT] = 2

    def cell(self, offset: int, mark: bytes = b"", least: int = 0) -> bytes:
        """Return what a cell holds."""
        used = offset < self._size and offset % _UNIT == 0 and self._starts[offset // _UNIT]
        length = -struct.unpack_from("<i", self._data, BASE + offset)[0] if used else 0
        if length - 4 < least:
            raise DamagedError(f"{offset} is no cell of {least} bytes that is in use")
        found = bytes(self._data[BASE + offset + 4 : BASE + offset + length])
        if not found.startswith(mark):
            raise DamagedError(f"the cell at {offset} should begin with {mark.decode()}")
        return found

    def slots(self, offset: int, *, below: bool = True) -> Iterator[tuple[bytes, int]]:
        """Yield the kind of list that each entry of a list of keys is in, and where in the file the entry is."""
        head = self.cell(offset, least=4)
        kind, count = head[:2], struct.unpack_from("<H", head, 2)[0]
        if kind not in _ENTRY_SIZES or (kind == b"ri" and not below):
            raise DamagedError(f"the cell at {offset} is no list of keys")
        self.cell(offset, least=4 + count * _ENTRY_SIZES[kind])
        for number in range(count):
            place = BASE + offset + 8 + number * _ENTRY_SIZES[kind]
            if kind == b"ri":
                yield from self.slots(struct.unpack_from("<I", self._data, place)[0], below=False)
            else:
                yield kind, place

    def name(self, offset: int) -> str:
        """Return the name of a key in upper case, each unit of UTF-16 as one character."""
        key = self.cell(offset, b"nk", 76)
        raw = key[76 : 76 + struct.unpack_from("<H", key, 72)[0]]
        if struct.unpack_from("<H", key, 2)[0] & _NAME_IS_LATIN:
            if raw.isascii():  # nearly all are, and this is far faster
                return raw.decode("ascii").upper()
            return "".join(upper(chr(unit)) for unit in raw)
        return "".join(upper(chr(unit)) for (unit,) in struct.iter_unpack("<H", raw[: len(raw) // 2 * 2]))

    def _read_bin(self, start: int, length: int) -> None:
        place, end = start + 32, start + length
        while place < end:
            (size,) = struct.unpack_from("<i", self._data, BASE + place)
            if size == 0 or size % _UNIT or place + abs(size) > end:
                raise DamagedError(f"the cell at {place} has {size} bytes")
            if size < 0:
                self._starts[place // _UNIT] = 1
            place += abs(size)

    def _key(self, offset: int, parent: int) -> list[int]:
        """Check a key, and return those in it."""
        key = self.cell(offset, b"nk", 76)
        if parent not in (_NONE, struct.unpack_from("<I", key, 16)[0]):
            raise DamagedError(f"the key at {offset} is not in the key that it names")
        keys, key_list, values, value_list, security, text = struct.unpack_from("<I4xI4xIIII", key, 20)
        name_length, text_length = struct.unpack_from("<HH", key, 72)
        self.cell(offset, least=76 + name_length)
        if security != _NONE:
            self.cell(security, b"sk", 20)
        if text_length and text != _NONE:
            self.cell(text, least=text_length)
        if values:
            for (value,) in struct.iter_unpack("<I", self.cell(value_list, least=values * 4)[: values * 4]):
                self._value(value)
        below = [struct.unpack_from("<I", self._data, place)[0] for _kind, place in self.slots(key_list)] if keys else []
        if len(below) != keys:
            raise DamagedError(f"the key at {offset} should have {keys} keys, and has {len(below)}")
        self._check_order(offset, [self.name(one) for one in below])
        return below

    def _check_order(self, key: int, names: list[str]) -> None:
        """Refuse keys among which Windows, which looks for one by halves, would find one or not by chance."""
        for first, second in zip(names, names[1:]):
            if first >= second:
                fault = f"holds {first!r} twice" if first == second else f"is not in order: {first!r} stands before {second!r}"
                raise DamagedError(
                    f"the key {self._path(key)!r} {fault}: on the master, export that key, delete it, import it again, and"
                    " capture the master anew"
                )

    def _path(self, key: int) -> str:
        """Return where a key is that was reached from the root."""
        names: list[str] = []
        while key != self._root:
            names.insert(0, self.name(key))
            (key,) = struct.unpack_from("<I", self.cell(key), 16)
        return "\\".join(names)

    def _value(self, offset: int) -> None:
        name_length, length, place = struct.unpack_from("<HII", self.cell(offset, b"vk", 20), 2)
        self.cell(offset, least=20 + name_length)
        if length & 0x80000000:
            if length & 0x7FFFFFFF > 4:
                raise DamagedError(f"the value at {offset} has more than 4 bytes in place")
        elif length > BIG and minor_version(self._data) >= 4:
            count, blocks = struct.unpack_from("<HI", self.cell(place, b"db", 8), 2)
            found = struct.unpack_from(f"<{count}I", self.cell(blocks, least=count * 4))
            if sum(min(len(self.cell(block)), BIG) for block in found) < length:
                raise DamagedError(f"the value at {offset} is incomplete")
        elif length:
            self.cell(place, least=length)
