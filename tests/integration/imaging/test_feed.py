# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A feed offers chunks in its own order: sound ones are taken, the stores give the rest.

The feed is played by the test, for nothing that sends chunks by itself is built yet; it sends the packed chunks of a real store.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Collection, Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured
from ansible_collections.reimage.lab.plugins.module_utils.imaging.deploy import deploy as deploy_from
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import UnreachableError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Progress
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources

from .conftest import blank, deploy

Offer = tuple[bytes, bytes]


class Counting(PathStore):
    """A store that notes which chunks were asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[bytes] = []

    def chunk(self, identifier: bytes) -> bytes:
        self.asked.append(identifier)
        return super().chunk(identifier)


class Played:
    """A feed that sends some offers, and then breaks off if it shall."""

    def __init__(self, offers: list[Offer], *, breaks: bool = False) -> None:
        self.offers = offers
        self.breaks = breaks
        self.wanted: set[bytes] = set()
        self.sent = 0

    def offered(self, wanted: Collection[bytes]) -> Iterator[Offer]:
        self.wanted = set(wanted)
        for offer in self.offers:
            self.sent += 1
            yield offer
        if self.breaks:
            raise UnreachableError("the sender went away")


@pytest.fixture
def store(captured: tuple[PathStore, Captured]) -> Counting:
    return Counting(captured[0].root)


@pytest.fixture
def offers(store: Counting) -> list[Offer]:
    """All chunks of the store, in an order that is nobody's."""
    chunks = [(bytes.fromhex(path.stem), path.read_bytes()) for path in sorted(store.root.glob("chunks/*/*.cacnk"))]
    random.Random(1).shuffle(chunks)
    return chunks


@pytest.fixture
def right(captured: tuple[PathStore, Captured], tmp_path: Path) -> Path:
    """A disk that was deployed without a feed."""
    disk = blank(tmp_path / "right.raw", 240)
    deploy(captured[0], captured[1].index, str(disk))
    return disk


def test_all_that_is_wanted_comes_from_the_feed_in_its_order(
    store: Counting, captured: tuple[PathStore, Captured], offers: list[Offer], right: Path, target: Path
) -> None:
    told: list[Progress] = []
    feed = Played(offers)
    result = deploy_from(Sources([store]), captured[1].index, str(target), feed=feed, callback=told.append)
    assert target.read_bytes() == right.read_bytes()
    assert (store.asked, result.bytes_fetched) == ([], 0)
    assert result.bytes_fed >= sum(len(packed) for identifier, packed in offers if identifier in feed.wanted)
    assert list(dict.fromkeys(one.stage for one in told)) == ["starting", "comparing", "writing", "verifying"]
    assert all(0 <= one.done <= one.total for one in told)


@pytest.mark.parametrize("breaks", [False, True])
def test_what_it_left_out_or_broke_off_before_comes_from_the_store(
    store: Counting, captured: tuple[PathStore, Captured], offers: list[Offer], right: Path, target: Path, breaks: bool
) -> None:
    feed = Played(offers[: len(offers) // 2], breaks=breaks)
    result = deploy_from(Sources([store]), captured[1].index, str(target), feed=feed)
    assert target.read_bytes() == right.read_bytes()
    assert set(store.asked) == feed.wanted - {identifier for identifier, _packed in feed.offers}
    assert [("the sender went away" in warning) for warning in result.warnings] == [True] * breaks


def test_damaged_or_foreign_chunks_are_never_written(
    store: Counting, captured: tuple[PathStore, Captured], offers: list[Offer], right: Path, target: Path
) -> None:
    chance = random.Random(2)
    swapped = [(identifier, offers[number - 1][1]) for number, (identifier, _packed) in enumerate(offers)]
    cut = [(identifier, packed[: len(packed) // 2]) for identifier, packed in offers]
    unknown = [(chance.randbytes(32), packed) for _identifier, packed in offers]
    feed = Played([*swapped, *cut, *unknown])
    deploy_from(Sources([store]), captured[1].index, str(target), feed=feed)
    assert target.read_bytes() == right.read_bytes()
    assert set(store.asked) == feed.wanted


def test_only_what_differs_is_wanted_and_nothing_is_waited_for_in_vain(
    store: Counting, captured: tuple[PathStore, Captured], offers: list[Offer], right: Path
) -> None:
    feed = Played(offers)
    assert not deploy_from(Sources([store]), captured[1].index, str(right), feed=feed).changed
    assert feed.sent == 0
    with right.open("r+b") as file:
        file.seek(266240 * 512 + 1024)
        file.write(b"\xff")
    result = deploy_from(Sources([store]), captured[1].index, str(right), feed=feed)
    assert (result.chunks_changed, len(feed.wanted), store.asked) == (1, 1, [])
    assert 0 < feed.sent <= len(offers)
