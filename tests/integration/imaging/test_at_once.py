# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Captures, deploys and prunes of one store that go on at the same time, and know nothing of each other."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured, capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import chunk_path
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.prune import prune
from ansible_collections.reimage.lab.plugins.module_utils.imaging.verify import verify_store

from .conftest import MIB, ROOT, blank, contents, deploy, mounted, partition, sh
from .test_power_cut import start
from .test_store import age, chunks

Store = tuple[PathStore, Captured]
GRACE = 60


class Slow(PathStore):
    """A store on a slow share, which stops when half of some chunks were asked for, until all are as far."""

    def __init__(self, root: Path, names: set[str]) -> None:
        super().__init__(root)
        self.half_way, self.go_on = threading.Event(), threading.Event()
        self._names = names
        self._asked: set[str] = set()

    def read(self, path: str, most: int) -> bytes:
        self._note(path)
        return super().read(path, most)

    def claim_chunk(self, identifier: bytes) -> int:
        size = super().claim_chunk(identifier)
        self._note(chunk_path(identifier))
        return size

    def _note(self, path: str) -> None:
        time.sleep(0.05)
        self._asked |= {Path(path).name} & self._names
        if len(self._asked) >= len(self._names) // 2:
            self.half_way.set()
            self.go_on.wait(60)


@pytest.fixture
def store(captured: Store, tmp_path: Path) -> PathStore:
    shutil.copytree(captured[0].root, tmp_path / "store")
    return PathStore(tmp_path / "store")


def variant(master: Path, folder: Path, name: str) -> Path:
    """Return the master with another file on its root."""
    disk = folder / f"{name}.raw"
    sh("cp", "--sparse=always", master, disk)
    with partition(disk, ROOT) as device, mounted(device, folder / "mnt", "ext4") as mount:
        (mount / name).write_bytes(contents(24 * MIB, name))
    return disk


def test_prune_takes_nothing_from_a_capture_and_a_deploy_that_go_on(
    store: PathStore, captured: Store, master: Path, tmp_path: Path
) -> None:
    one, two = (variant(master, tmp_path, name) for name in ("one", "two"))
    # All chunks that only this capture needs are of a version that was removed long ago: any prune may take them.
    capture(store, str(one), "gone", "1")
    old = chunks(store) - chunks(captured[0])
    age(store, 2 * GRACE)
    prune(store, "gone", ["1"], grace=GRACE)
    # And the version that is deployed is removed while it is.
    going = capture(store, str(two), "going", "1").index
    shutil.copytree(store.root, tmp_path / "untouched")
    age(store, 2 * GRACE)
    slow = [Slow(store.root, old), Slow(store.root, chunks(store) - chunks(captured[0]) - old)]
    pc = blank(tmp_path / "pc.raw", 240)
    pruned = []
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(capture, slow[0], str(one), "lab", "2"),
            pool.submit(deploy, slow[1], going, str(pc)),
        ]
        assert all(user.half_way.wait(60) for user in slow)
        for user in slow:
            user.go_on.set()
        pruned.append(prune(store, "going", ["1"], grace=GRACE))
        while not all(job.done() for job in jobs):
            pruned.append(prune(store, grace=GRACE))
    assert [job.exception() for job in jobs] == [None, None]
    # What the capture had found stayed; what it had not come to was removed, and stored again.
    assert 0 < sum(result.chunks for result in pruned) == jobs[0].result().chunks_new < len(old)
    report = verify_store(store)
    assert (sorted(report.images), report.hurt) == (["lab/1", "lab/2"], {})
    assert not deploy(PathStore(tmp_path / "untouched"), going, str(pc)).changed


def test_several_captures_from_several_processes(captured: Store, master: Path, tmp_path: Path) -> None:
    store = PathStore(tmp_path / "fresh")
    store.root.mkdir()
    one, two = (variant(master, tmp_path, name) for name in ("one", "two"))
    disks = {"1": master, "2": one, "3": two, "4": one}
    processes = [start("capture", store, disk, version) for version, disk in disks.items()]
    assert [process.wait(120) for process in processes] == [0, 0, 0, 0]
    report = verify_store(store)
    assert (sorted(report.images), report.hurt) == ([f"lab/{version}" for version in disks], {})
    assert store.description("lab", "", "latest").decode() in disks
    assert not list(store.root.rglob(".*"))
    tables = [[region.caibx_sha256 for region in read_index(store, "lab", version)[0].partitions] for version in ("1", "2", "4")]
    assert tables[0] == [region.caibx_sha256 for region in captured[1].index.partitions]
    assert tables[1] == tables[2]
