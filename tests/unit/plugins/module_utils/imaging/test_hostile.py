# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Indexes and chunks that somebody made to hurt: one clear error, and no memory."""

from __future__ import annotations

import base64
import json
import struct
import tracemalloc
from typing import Any, Callable, Iterator

import pytest
import zstandard
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging import index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.zstd import Codec

from .test_format import MIB, an_index, description

Value = dict[str, Any]
Change = Callable[[Value], object]


@pytest.fixture
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def changed(change: Change, one: index.Index | None = None) -> bytes:
    value = json.loads((one or an_index()).encode())
    change(value)
    return json.dumps(value).encode()


def refused(data: bytes) -> str:
    """Return why an index is refused."""
    with pytest.raises(DamagedError, match=r"^s/index\.json: ") as caught:
        index.decode(data, "s/index.json")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"format":' * 100_000, b'{"format": 1, "provenance": ' + b"[" * 90_000])
def test_deep_nesting_is_refused(data: bytes) -> None:
    assert "nested too deeply" in refused(data)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("piece", [b"[],", b"{},", b"257,"])
def test_values_without_end_are_refused_before_they_take_memory(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MOST_EXTENTS", 1 << 16)
    data = b'{"format": 1, "x": [' + piece * 300_000 + b"1]}"
    tracemalloc.reset_peak()
    assert "more than 262144 values" in refused(data)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1.5", "9" * 5000, "-1", str(1 << 70), "true"])
@pytest.mark.parametrize("place", ['"start": 1048576', "4096\n", '"sector_size": 512', '"bytes_used": 4096', '"size_min": 0'])
def test_number_that_is_none_is_refused_wherever_it_stands(place: str, number: str) -> None:
    text = an_index().encode().decode()
    head, colon, _old = place.rpartition(" ")
    assert place in text
    refused(text.replace(place, f"{head}{colon}{number}\n" if place.endswith("\n") else f"{head}{colon}{number}", 1).encode())


def every_place(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with every key of it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from every_place(value[key])


WRONG: list[Any] = [
    None,
    True,
    -1,
    1.5,
    10**30,
    1 << 62,
    "../../etc/passwd",
    "x" * 5000,
    [],
    [[]],
    [[1, 2, 3]],
    {},
    {"a": []},
    "\ud800",
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: f"{value!a:.20}")
@pytest.mark.parametrize("make", [an_index, lambda: description(2)], ids=["gpt", "dos"])
def test_wrong_value_anywhere_is_refused_or_harmless(make: Callable[[], index.Index], wrong: Any) -> None:
    count = 0
    for number, _place in enumerate(every_place(json.loads(make().encode()))):
        value = json.loads(make().encode())
        where, key = list(every_place(value))[number]
        if key in ("provenance", "a") or where == [1]:
            continue  # what nobody reads
        where[key] = wrong
        count += 1
        try:
            one = index.decode(json.dumps(value).encode(), "s/index.json")
        except ReimageError:
            continue
        one.table().pieces(1 << 40)
        again = index.decode(one.encode(), "again")
        assert vars(again.partitions[0]).keys() == vars(one.partitions[0]).keys()
        assert isinstance(one.description + one.created + one.partitions[0].type, str)
    assert count > 25


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda value: value["partitions"][0].update(type=7), "partitions[0].type: 7 is not text"),
        (lambda value: value["partitions"][0].update(color="red"), "field 'color' is unknown"),
        (lambda value: value["partitions"].append(value["partitions"][0]), "overlaps"),
        (lambda value: value["partitions"][0].update(number=2), "partition 2 is elsewhere in the partition table"),
        (lambda value: value["partitions"][0].update(start=2 * MIB), "partition 1 is elsewhere in the partition table"),
        (lambda value: value["partitions"][0].update(number=200), "no place for a partition 200"),
        (lambda value: value.update(head=value["head"][:-8]), "not an index"),
        (lambda value: value.update(created=["x"] * 1000), "a list of 1000 is not text"),
        (lambda value: value.update(format=True), "not a whole number"),
    ],
)
def test_what_contradicts_itself_is_named(change: Change, said: str) -> None:
    assert said in refused(changed(change))


@pytest.mark.parametrize("links", [[[1 << 40, 512]], [[512, 511]], [[512, 512]] * 100])
def test_logical_partitions_that_lead_out_of_the_extended_one_are_refused(links: list[list[int]]) -> None:
    described = [[offset, base64.b64encode(bytes(size)).decode()] for offset, size in links]
    refused(changed(lambda value: value.update(links=described), description(2)))


def test_disk_in_more_pieces_than_an_index_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MOST_EXTENTS", 1000)
    index.refuse_too_many_extents(description(1000).partitions, "/dev/sda")
    assert index.decode(description(1000).encode(), "x").bytes_used == 1000 * 4096
    with pytest.raises(ReimageError, match="disk /dev/sda: what is used of it is in 1001 pieces, more than the 1000 "):
        index.refuse_too_many_extents(description(1001).partitions, "/dev/sda")


def frame_that_claims(size: int) -> bytes:
    """A whole zstd frame of one empty block, which states another size."""
    return b"\x28\xb5\x2f\xfd" + bytes([0b11000000, 0x50]) + struct.pack("<Q", size) + b"\x01\x00\x00"


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("size", [CHUNK_SIZE + 1, 1 << 40, (1 << 63) - 1])
def test_frame_that_claims_more_than_a_chunk_is_damaged(size: int) -> None:
    assert len(frame_that_claims(size)) == 17
    with pytest.raises(DamagedError, match=f"claims to hold {size} bytes"):
        Codec().decompress(frame_that_claims(size), CHUNK_SIZE)


@pytest.mark.parametrize("sized", [True, False])
def test_frame_that_holds_more_than_a_chunk_is_damaged(sized: bool) -> None:
    pack = zstandard.ZstdCompressor(write_content_size=sized)
    packer = pack.compressobj(size=300 * MIB) if sized else pack.compressobj()
    packed = b"".join([packer.compress(bytes(MIB)) for _mib in range(300)] + [packer.flush()])
    assert len(packed) < 20_000
    tracemalloc.start()
    try:
        with pytest.raises(DamagedError):
            Codec().decompress(packed, CHUNK_SIZE)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_frame_that_wants_a_large_window_is_damaged() -> None:
    settings = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    with pytest.raises(DamagedError, match="too much memory"):
        Codec().decompress(packer.compress(b"x" * 1000) + packer.flush(), CHUNK_SIZE)
