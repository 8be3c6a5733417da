# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one store does not give comes from another, and what is damaged on its way is fetched again."""

from __future__ import annotations

import http.server
import random
import shutil
import struct
import threading
from pathlib import Path
from typing import Callable, Iterator

import pytest
import zstandard
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured
from ansible_collections.reimage.lab.plugins.module_utils.imaging.deploy import deploy as deploy_from
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.http import HttpStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources
from ansible_collections.reimage.lab.plugins.module_utils.imaging.verify import verify_image

from ..module import run
from .conftest import MIB, deploy

Store = tuple[PathStore, Captured]
Damage = Callable[[Path], object]


def remove(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def claim(path: Path) -> None:
    """A frame of 17 bytes that states a size of 2^40."""
    path.write_bytes(b"\x28\xb5\x2f\xfd\xc0\x50" + struct.pack("<Q", 1 << 40) + b"\x01\x00\x00")


def swell(path: Path) -> None:
    """A frame of some kilobytes that holds 600 MiB."""
    packer = zstandard.ZstdCompressor().compressobj(size=600 * MIB)
    path.write_bytes(b"".join([packer.compress(bytes(MIB)) for _mib in range(600)] + [packer.flush()]))


def digest(store: PathStore) -> str:
    return read_index(store, "lab", "1")[1]


def is_right(captured: Store, disk: Path) -> bool:
    return not deploy(captured[0], captured[1].index, str(disk), dry_run=True).changed


class Silent(HttpStore):
    """A server that is not there, and how often it was tried."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9/store")
        self.asked = 0

    def read(self, path: str, most: int) -> bytes:
        self.asked += 1
        return super().read(path, most)


class TestMirrors:
    @pytest.fixture
    def bad(self, captured: Store, tmp_path: Path) -> PathStore:
        shutil.copytree(captured[0].root, tmp_path / "bad")
        return PathStore(tmp_path / "bad")

    @pytest.mark.parametrize("damage", [remove, flip, empty])
    @pytest.mark.parametrize("file", ["p4.caibx", "p4.blake3"])
    def test_tables_come_from_a_mirror(self, bad: PathStore, captured: Store, target: Path, file: str, damage: Damage) -> None:
        damage(bad.root / "images/lab/1" / file)
        assert deploy(bad, captured[1].index, str(target), mirrors=[captured[0]]).changed
        assert is_right(captured, target)

    @pytest.mark.parametrize("damage", [remove, flip, empty, claim, swell])
    def test_chunks_come_from_a_mirror(self, bad: PathStore, captured: Store, target: Path, damage: Damage) -> None:
        chunk = max((bad.root / "chunks").glob("*/*.cacnk"), key=lambda path: path.stat().st_size)
        damage(chunk)
        with pytest.raises(ReimageError, match=chunk.name):
            deploy(bad, captured[1].index, str(target))
        assert deploy(bad, captured[1].index, str(target), mirrors=[captured[0]]).changed
        assert is_right(captured, target)

    @pytest.mark.parametrize("damage", [remove, empty])
    @pytest.mark.parametrize("file", ["1/index.json", "latest"])
    def test_index_comes_from_a_mirror(self, bad: PathStore, captured: Store, file: str, damage: Damage) -> None:
        damage(bad.root / "images/lab" / file)
        index, found = Sources([bad, captured[0]]).first(lambda store: read_index(store, "lab", "latest"))
        assert (index.image, found) == ("lab/1", digest(captured[0]))

    def test_index_with_another_digest_than_the_trusted_one_comes_from_a_mirror(self, bad: PathStore, captured: Store) -> None:
        path = bad.root / "images/lab/1/index.json"
        path.write_bytes(path.read_bytes().replace(b'"description": ""', b'"description": "forged"'))
        trusted = digest(captured[0])
        index, _digest = Sources([bad, captured[0]]).first(lambda store: read_index(store, "lab", "1", trusted))
        assert index.description == ""

    def test_module_takes_what_is_missing_from_a_mirror(self, bad: PathStore, captured: Store, target: Path) -> None:
        shutil.rmtree(bad.root / "images")
        options = {"store": str(bad.root), "name": "lab", "disk": str(target)}
        assert "has no image" in run("image_deploy", **options)["msg"]
        assert run("image_deploy", **options, mirrors=[str(captured[0].root)])["changed"]
        assert is_right(captured, target)

    def test_server_that_does_not_answer_is_not_tried_for_every_chunk(self, captured: Store, target: Path) -> None:
        silent = Silent()
        deploy(silent, captured[1].index, str(target), mirrors=[captured[0]])
        assert silent.asked == 1
        assert is_right(captured, target)

    def test_server_that_does_not_answer_is_tried_last_not_never(self, captured: Store) -> None:
        silent = Silent()
        sources = Sources([silent, captured[0]])
        for _time in range(2):
            sources.first(lambda store: store.description("lab", "", "latest"))
        with pytest.raises(ReimageError, match=r"has no image .*; http://127\.0\.0\.1:9/store: the store does not answer"):
            sources.first(lambda store: read_index(store, "lab", "9"))
        assert silent.asked == 2


class Noisy(http.server.ThreadingHTTPServer):
    """A store behind a bad cable: of the files that are asked for, every n-th arrives with a bit flipped the first time."""

    def __init__(self, root: Path, every: int) -> None:
        self.root = root
        self.every = every
        self.asked: set[str] = set()
        self.damaged = 0
        self._lock = threading.Lock()
        self._chance = random.Random(every)
        super().__init__(("127.0.0.1", 0), _NoisyHandler)

    def body(self, path: str) -> bytes:
        data = bytearray((self.root / path.lstrip("/")).read_bytes())
        with self._lock:
            again = path in self.asked
            self.asked.add(path)
            if not again and len(self.asked) % self.every == 0:
                data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)
                self.damaged += 1
        return bytes(data)


class _NoisyHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Noisy)
        body = self.server.body(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_unused: object) -> None:
        pass


class TestDamageOnItsWay:
    @pytest.fixture(params=[1, 3])
    def noisy(self, captured: Store, request: pytest.FixtureRequest) -> Iterator[Noisy]:
        with Noisy(captured[0].root, request.param) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield server
            server.shutdown()
            thread.join()

    def test_is_fetched_again_and_never_written(self, noisy: Noisy, captured: Store, target: Path) -> None:
        sources = Sources([HttpStore(f"http://127.0.0.1:{noisy.server_address[1]}")])
        trusted = digest(captured[0])
        index, found = sources.first(lambda store: read_index(store, "lab", "1", trusted))
        wanted = deploy(captured[0], index, str(target), dry_run=True)
        result = deploy_from(sources, index, str(target), verify=False)
        assert noisy.damaged >= len(noisy.asked) // noisy.every > 10
        assert found == trusted
        assert is_right(captured, target)
        # Nothing was written twice, so that what is on the disk is all that was ever written.
        assert result.chunks_changed == wanted.chunks_changed

    def test_does_not_hurt_a_store_that_is_verified(self, noisy: Noisy) -> None:
        report = verify_image(HttpStore(f"http://127.0.0.1:{noisy.server_address[1]}"), "lab", "1")
        assert (report.images, report.damaged, report.hurt) == (["lab/1"], {}, {})
        assert noisy.damaged > 10
