# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The transaction logs of a hive: what Windows had still to write into it.

Windows replays them when it loads a hive that is dirty. Since 8.1 there are two, of entries with a sequence number each; before,
one that holds sectors.

Source: M. Suhanov, "Windows registry file format specification".
"""

from __future__ import annotations

import struct
from typing import Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.hive_file import BASE, BIN, checksum

ENDINGS = (".LOG1", ".LOG2", ".LOG")
_HEAD, _SECTOR = 512, 512
_ENTRIES, _SECTORS = (6,), (1, 2)  # types of logs
_SEED = 0x82EF4D887A4E55C5
_HALF = 1 << 31


def is_dirty(data: bytes) -> bool:
    """Return whether a hive waits for its logs."""
    return data[4:8] != data[8:12] or not _whole(data)


def replay(data: bytes, logs: Sequence[bytes]) -> bytes | None:
    """Return a dirty hive as it is after its logs; C(None) if none of them fits it.

    :param logs: What they hold, in any order. Nothing in them is trusted.
    """
    hive = bytearray(data)
    usable = [log for log in logs if len(log) > _HEAD and log[:4] == b"regf" and _whole(log) and log[4:8] == log[8:12]]
    entries = [log for log in usable if _number(log, 28) in _ENTRIES]
    sectors = [log for log in usable if _number(log, 28) in _SECTORS]
    if entries:
        return _replay_entries(hive, entries)
    return _replay_sectors(hive, sectors[0]) if sectors else None


def marvin32(data: bytes, seed: int = _SEED) -> int:
    """Return the hash of a log's entry, of 64 bits."""
    low, high = seed & 0xFFFFFFFF, seed >> 32
    rest = len(data) % 4
    last = int.from_bytes(data[len(data) - rest :] + b"\x80", "little")
    words = struct.unpack(f"<{len(data) // 4}I", data[: len(data) - rest])
    for word in (*words, last, 0):
        low = (low + word) & 0xFFFFFFFF
        high ^= low
        low = (((low << 20) | (low >> 12)) + high) & 0xFFFFFFFF
        high = (((high << 9) | (high >> 23)) & 0xFFFFFFFF) ^ low
        low = (((low << 27) | (low >> 5)) + high) & 0xFFFFFFFF
        high = ((high << 19) | (high >> 13)) & 0xFFFFFFFF
    return high << 32 | low


def _replay_entries(hive: bytearray, logs: list[bytes]) -> bytes | None:
    logs.sort(key=lambda log: _number(log, 4))
    if len(logs) == 2 and _number(logs[1], 4) - _number(logs[0], 4) >= _HALF:
        logs.reverse()  # the numbers began anew
    if _whole(hive):
        written = _number(hive, 8)
        logs = [log for log in logs if (_number(log, 4) - written) & 0xFFFFFFFF < _HALF]
    else:
        logs = logs[-1:]  # as Windows does; the head is taken from it
    last: int | None = None
    for log in logs:
        if last is not None and _number(log, 4) != (last + 1) & 0xFFFFFFFF:
            break
        for number, flags, size, pages in _entries(log, len(hive) + len(log)):
            _take_head(hive, log, size)
            hive[144:148] = struct.pack("<I", _number(hive, 144) & ~1 | flags & 1)
            for place, page in pages:
                _put(hive, place, page)
            last = number
    return None if last is None else _clean(hive, last)


def _entries(log: bytes, most: int) -> Iterator[tuple[int, int, int, list[tuple[int, bytes]]]]:
    """Yield the sequence number, the flags, the size of all bins, and the pages of each entry, up to the first that is wrong.

    :param most: How big all bins can become: what is new is in the log.
    """
    start, expected = _HEAD, _number(log, 4)
    while start + 40 <= len(log):
        mark, length, flags, number, size, count, whole, head = struct.unpack_from("<4sIIIIIQQ", log, start)
        entry = log[start : start + length]
        right = mark == b"HvLE" and number == expected and len(entry) == length and length >= 40 + count * 8
        if not right or size % BIN or size > most or marvin32(entry[:32]) != head or marvin32(entry[40:]) != whole:
            return
        pages, place = [], 40 + count * 8
        for offset, amount in struct.iter_unpack("<II", entry[40:place]):
            if offset + amount > size or place + amount > length:
                return
            pages.append((offset, entry[place : place + amount]))
            place += amount
        yield number, flags, size, pages
        start, expected = start + length, (expected + 1) & 0xFFFFFFFF


def _replay_sectors(hive: bytearray, log: bytes) -> bytes | None:
    size = _number(log, 40)
    start = _HEAD + 4 + size // BIN
    start += -start % _SECTOR
    bitmap = log[_HEAD + 4 : _HEAD + 4 + size // BIN]
    written = hive[12:20] if _whole(hive) else hive[BASE + 20 : BASE + 28]
    older = int.from_bytes(log[12:20], "little") < int.from_bytes(written, "little")
    if log[_HEAD : _HEAD + 4] != b"DIRT" or size % BIN or size > len(hive) + len(log) or older:
        return None
    dirty = [bit for bit in range(len(bitmap) * 8) if bitmap[bit // 8] >> bit % 8 & 1]
    if not dirty or len(log) < start + len(dirty) * _SECTOR:
        return None
    _take_head(hive, log, size)
    for number, bit in enumerate(dirty):
        _put(hive, bit * _SECTOR, log[start + number * _SECTOR : start + (number + 1) * _SECTOR])
    return _clean(hive, _number(hive, 4))


def _take_head(hive: bytearray, log: bytes, size: int) -> None:
    """Take over what a log says of the hive: all if the hive's own head is damaged."""
    if not _whole(hive):
        hive[:_HEAD] = log[:_HEAD]
        hive[28:32] = bytes(4)
    hive[12:20], hive[24:28], hive[36:40] = log[12:20], log[24:28], log[36:40]
    hive[40:44] = struct.pack("<I", size)
    hive[508:512] = struct.pack("<I", checksum(hive))


def _put(hive: bytearray, offset: int, page: bytes) -> None:
    if len(hive) < BASE + offset:
        hive.extend(bytes(BASE + offset - len(hive)))
    hive[BASE + offset : BASE + offset + len(page)] = page


def _clean(hive: bytearray, number: int) -> bytes:
    hive[4:12] = struct.pack("<II", number, number)
    hive[508:512] = struct.pack("<I", checksum(hive))
    return bytes(hive)


def _whole(data: bytes | bytearray) -> bool:
    return len(data) >= _HEAD and _number(data, 508) == checksum(data)


def _number(data: bytes | bytearray, place: int) -> int:
    return int(struct.unpack_from("<I", data, place)[0])
