# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real index, changed in two thousand ways: a deploy of it ends well, or with one clear error and nothing written."""

from __future__ import annotations

import base64
import json
import random
import zlib
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import decode
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from .conftest import deploy

BYTES, VALUES, HEADS = 1000, 1000, 100
ODD: list[Any] = [None, True, 0, -1, 1, 512, 4095, 1 << 20, 1 << 40, 1 << 70, 1.5, float("nan"), float("inf"), "", "x", "\ud800"]
NESTED: list[Any] = [[], {}, [[]], [[0, 4096]], [[4096, 0]], {"x": []}, [[1] * 1000]]
Mutation = Callable[[random.Random, bytes], bytes]


def change_bytes(chance: random.Random, data: bytes) -> bytes:
    """Flip, lose, double or overwrite bytes, as a failing disk or cable does."""
    changed = bytearray(data)
    for _time in range(chance.randint(1, 3)):
        at, length = chance.randrange(len(changed)), chance.randint(1, 40)
        piece = changed[at : at + length]
        changed[at : at + length] = chance.choice(
            [bytes([piece[0] ^ 1 << chance.randrange(8)]) + piece[1:], b"", piece * 2, chance.randbytes(length), b"9" * length]
        )
    return bytes(changed)


def change_value(chance: random.Random, data: bytes) -> bytes:
    """Put something else in the place of one value, wherever it stands."""
    value = json.loads(data)
    container, key = value, chance.choice(list(value))
    while isinstance(container[key], (list, dict)) and container[key] and chance.random() < 0.85:
        container = container[key]
        key = chance.choice(list(container) if isinstance(container, dict) else range(len(container)))
    old = container[key]
    if isinstance(old, int) and chance.random() < 0.5:
        container[key] = old + chance.choice([-1, 1]) * chance.choice([1, 512, 4096, 1 << 20, 1 << 33])
    elif chance.random() < 0.1:
        del container[key]
    else:
        container[key] = chance.choice([*ODD, *NESTED, json.loads(data)["partitions"], old])
    return json.dumps(value).encode()


def change_head(chance: random.Random, data: bytes) -> bytes:
    """Change the partition table: its first sectors, or the GPT's header with a checksum that is right again."""
    value = json.loads(data)
    head = bytearray(zlib.decompress(base64.b64decode(value["head"])))
    for _time in range(chance.randint(1, 4)):
        head[chance.randrange(440, 1024 + 512)] = chance.randrange(256)
    if chance.random() < 0.2:
        del head[chance.randrange(len(head)) :]
    value["head"] = base64.b64encode(zlib.compress(bytes(head))).decode()
    return json.dumps(value).encode()


@pytest.mark.parametrize(("mutate", "count"), [(change_bytes, BYTES), (change_value, VALUES), (change_head, HEADS)])
def test_changed_index_is_deployed_or_refused_with_one_error_and_nothing_written(
    captured: tuple[PathStore, Captured], target: Path, monkeypatch: pytest.MonkeyPatch, mutate: Mutation, count: int
) -> None:
    store, image = captured
    chance = random.Random(2026)
    genuine = image.index.encode()
    deploy(store, image.index, str(target))
    written: list[int] = []
    write = Device.write

    def note(self: Device, offset: int, data: bytes) -> None:
        written.append(offset)
        write(self, offset, data)

    monkeypatch.setattr(Device, "write", note)
    seen = {"refused": 0, "refused by its chunks": 0, "deployed": 0}
    for _number in range(count):
        data = mutate(chance, genuine)
        try:
            index = decode(data, "index.json")
        except ReimageError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 400
            seen["refused"] += 1
            continue
        if index.encode() == genuine:
            continue
        try:
            deploy(store, index, str(target), verify=False)
            seen["deployed"] += 1
        except ReimageError as error:
            assert "\n" not in str(error)
            assert not written
            seen["refused by its chunks"] += 1
        written.clear()
    assert seen["refused"] > count / 5, seen
    assert seen["deployed"] > 0, seen
