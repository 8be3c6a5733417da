# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store as something that lives: several writers, a full disk, damage, pruning, signatures."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured, capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.deploy import deploy
from ansible_collections.reimage.lab.plugins.module_utils.imaging.info import describe
from ansible_collections.reimage.lab.plugins.module_utils.imaging.prune import prune
from ansible_collections.reimage.lab.plugins.module_utils.imaging.signature import check, sign
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store import PathStore, chunk_path, read_ids, read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.verify import verify_store

from .conftest import MIB, ROOT, mounted, partition, sh

Store = tuple[PathStore, Captured]


@pytest.fixture
def store(captured: Store, tmp_path: Path) -> PathStore:
    """A copy of the store, to be changed."""
    root = tmp_path / "store"
    shutil.copytree(captured[0].root, root)
    return PathStore(root)


@pytest.fixture
def changed(master: Path, tmp_path: Path) -> Path:
    """The master with one more file on its root."""
    disk = tmp_path / "changed.raw"
    sh("cp", "--sparse=always", master, disk)
    with partition(disk, ROOT) as device, mounted(device, tmp_path / "mnt", "ext4") as folder:
        (folder / "new").write_bytes(os.urandom(3 * MIB))
    return disk


def digest(store: PathStore) -> str:
    return read_index(store, "lab", "1")[1]


def chunks(store: PathStore) -> set[str]:
    return {path.name for path in (store.root / "chunks").glob("*/*")}


def age(store: PathStore, seconds: float) -> None:
    """Have everything in a store be older."""
    for path in store.root.rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_several_captures_at_once_make_the_same_images(master: Path, changed: Path, tmp_path: Path) -> None:
    store = PathStore(tmp_path / "fresh")
    store.root.mkdir()
    disks = {"one": master, "two": changed, "three": master}
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            capture(PathStore(store.root), str(disks[name]), name, "1")
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(name,)) for name in disks]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    report = verify_store(store)
    assert (sorted(report.images), report.hurt) == (["one/1", "three/1", "two/1"], {})
    assert not list(store.root.rglob(".*"))


def test_full_store_is_said_and_nothing_half_is_published(master: Path, tmp_path: Path) -> None:
    root = tmp_path / "small"
    root.mkdir()
    sh("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", root)
    try:
        with pytest.raises(ReimageError, match=r"cannot be written: .*No space left"):
            capture(PathStore(root), str(master), "lab", "1")
        assert not (root / "images").exists()
        assert not list(root.rglob(".*"))
        stored = chunks(PathStore(root))
        sh("mount", "-o", "remount,size=64m", root)
        second = capture(PathStore(root), str(master), "lab", "1")
        assert stored
        assert second.chunks_new == len(chunks(PathStore(root))) - len(stored)
    finally:
        sh("umount", root)


def test_read_only_store_deploys_and_refuses_a_capture(store: PathStore, captured: Store, master: Path, target: Path) -> None:
    sh("mount", "--bind", "-o", "ro", store.root, store.root)
    try:
        assert deploy(store, captured[1].index, str(target)).changed
        with pytest.raises(ReimageError, match="cannot be written"):
            capture(store, str(master), "lab", "2")
    finally:
        sh("umount", store.root)


class TestVerify:
    def test_sound_store(self, store: PathStore) -> None:
        report = verify_store(store)
        assert (report.images, report.damaged, report.hurt) == (["lab/1"], {}, {})
        assert report.chunks_total == len(chunks(store))

    @pytest.mark.parametrize("damage", ["flip", "remove"])
    def test_damaged_chunk_is_named_with_the_images_that_it_hurts(self, store: PathStore, changed: Path, damage: str) -> None:
        index = capture(store, str(changed), "other", "1").index
        region = next(region for region in index.partitions if region.number == ROOT)
        mine = set(read_ids(store, index, region)) - {bytes.fromhex(name[:64]) for name in self.before}
        identifier = sorted(mine)[0]
        path = store.root / chunk_path(identifier)
        if damage == "flip":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 4
            path.write_bytes(data)
        else:
            path.unlink()
        report = verify_store(store)
        assert list(report.damaged) == [identifier.hex()]
        assert list(report.hurt) == ["other/1"]

    @pytest.fixture(autouse=True)
    def remember(self, store: PathStore) -> None:
        self.before = chunks(store)

    def test_damaged_table_hurts_its_image(self, store: PathStore) -> None:
        path = store.root / "images/lab/1/p3.caibx"
        path.write_bytes(path.read_bytes()[:-1])
        assert "p3.caibx" in verify_store(store).hurt["lab/1"]

    def test_unknown_image(self, store: PathStore) -> None:
        with pytest.raises(ReimageError, match="there is: lab"):
            verify_store(store, "nosuch")


class TestPrune:
    def test_old_version_and_its_own_chunks_go(self, store: PathStore, changed: Path, target: Path) -> None:
        before = chunks(store)
        index = capture(store, str(changed), "lab", "2").index
        age(store, 3600)
        result = prune(store, "lab", ["2"], grace=60)
        assert (result.versions, result.chunks) == (["lab/2"], 0)  # a deploy may still be reading it
        assert store.versions("lab") == ["1"]
        assert store.get("images/lab/latest") == b"1"
        age(store, 3600)
        result = prune(store, grace=60)
        assert result.chunks > 0
        assert chunks(store) == before
        assert not verify_store(store).hurt
        assert prune(store, grace=60) == type(result)()
        with pytest.raises(ReimageError, match="missing"):
            deploy(store, index, str(target))

    def test_newest_are_kept(self, store: PathStore, master: Path) -> None:
        for version in ("2", "3"):
            time.sleep(1)
            capture(store, str(master), "lab", version)
        assert prune(store, keep=2).versions == ["lab/1"]
        assert store.versions("lab") == ["2", "3"]

    def test_dry_run_removes_nothing(self, store: PathStore, changed: Path) -> None:
        capture(store, str(changed), "lab", "2")
        age(store, 3600)
        before = sorted(str(path) for path in store.root.rglob("*"))
        result = prune(store, "lab", ["2"], grace=60, dry_run=True)
        assert (result.versions, result.chunks > 0) == (["lab/2"], True)
        assert sorted(str(path) for path in store.root.rglob("*")) == before

    def test_chunk_that_a_running_capture_found_stays(self, store: PathStore, changed: Path) -> None:
        capture(store, str(changed), "lab", "2")
        age(store, 3600)
        prune(store, "lab", ["2"], grace=60)
        age(store, 3600)
        store_of_capture = PathStore(store.root)
        lonely = sorted(chunks(store) - {f"{one.hex()}.cacnk" for one in self.ids(store)})
        assert store_of_capture.claim_chunk(bytes.fromhex(lonely[0][:64]))
        prune(store, grace=60)
        assert [name for name in lonely if name in chunks(store)] == lonely[:1]

    def ids(self, store: PathStore) -> Iterator[bytes]:
        for image in describe(store):
            for path in (store.root / "images" / image["name"] / image["version"]).glob("*.caibx"):
                data = path.read_bytes()
                yield from (data[at + 8 : at + 40] for at in range(64, len(data) - 40, 40))

    def test_damaged_index_stops_it_before_anything_is_removed(self, store: PathStore, changed: Path) -> None:
        capture(store, str(changed), "lab", "2")
        age(store, 3600)
        (store.root / "images/lab/1/index.json").write_bytes(b"{}")
        before = chunks(store)
        with pytest.raises(ReimageError, match="not an index"):
            prune(store, "lab", ["2"], grace=60)
        assert chunks(store) == before
        assert store.versions("lab") == ["1", "2"]

    def test_unknown_version(self, store: PathStore) -> None:
        with pytest.raises(ReimageError, match="there is: lab/1"):
            prune(store, "lab", ["9"])


def test_info_says_what_images_share(store: PathStore, changed: Path) -> None:
    assert describe(store)[0]["bytes_shared"] == 0
    captured = capture(store, str(changed), "lab", "2")
    one, two = describe(store)
    assert two["bytes_own"] >= captured.bytes_new
    assert one["bytes_own"] + one["bytes_shared"] == one["bytes_stored"]
    assert one["bytes_shared"] == two["bytes_shared"] > 0
    assert [image["version"] for image in describe(store, "lab", "latest")] == ["2"]
    assert "bytes_own" not in describe(store, "lab", sizes=False)[0]


class TestSignature:
    @pytest.fixture
    def key(self, tmp_path: Path) -> Path:
        key = tmp_path / "key"
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
        return key

    def allowed(self, key: Path) -> str:
        return f"images@example.org {key.with_suffix('.pub').read_text()}"

    def test_signed_image_is_accepted_and_signed_once(self, store: PathStore, key: Path) -> None:
        assert sign(store, "lab", "1", str(key), dry_run=True)
        assert sign(store, "lab", "1", str(key))
        assert not sign(store, "lab", "1", str(key))
        assert check(store, "lab", "1", digest(store), self.allowed(key)) == "images@example.org"

    def test_unsigned_changed_or_otherwise_signed_image_is_refused(self, store: PathStore, key: Path, tmp_path: Path) -> None:
        with pytest.raises(ReimageError, match="not signed"):
            check(store, "lab", "1", digest(store), self.allowed(key))
        sign(store, "lab", "1", str(key))
        other = tmp_path / "other"
        sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other)
        with pytest.raises(ReimageError, match="not that of an allowed signer"):
            check(store, "lab", "1", digest(store), self.allowed(other))
        path = store.root / "images/lab/1/index.json"
        path.write_bytes(path.read_bytes().replace(b'"description": ""', b'"description": "x"'))
        with pytest.raises(ReimageError, match="not that of an allowed signer"):
            check(store, "lab", "1", digest(store), self.allowed(key))

    def test_index_that_is_another_when_it_is_read_again_is_refused(self, store: PathStore, key: Path) -> None:
        sign(store, "lab", "1", str(key))
        with pytest.raises(ReimageError, match="changed while it was read"):
            check(store, "lab", "1", "00" * 32, self.allowed(key))
