# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store as something that lives: several writers, a full disk, damage, pruning, signatures."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Callable, Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging import capture as capture_module
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured, capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.info import describe
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_ids, read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import chunk_path
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.prune import prune
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.signature import check, sign
from ansible_collections.reimage.lab.plugins.module_utils.imaging.verify import verify_store

from .conftest import MIB, ROOT, deploy, mounted, partition, sh

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


def change_extents(store: PathStore, change: Callable[[list[list[int]]], object], *, consistent: bool = False) -> None:
    """Change what the index of C(lab/1) says is used of the root, and with I(consistent) the sum too."""
    path = store.root / "images/lab/1/index.json"
    value = json.loads(path.read_bytes())
    for region in value["partitions"]:
        if region["number"] == ROOT:
            change(region["extents"])
    if consistent:
        value["bytes_used"] = sum(length for region in value["partitions"] for _offset, length in region["extents"])
    path.write_text(json.dumps(value))


def shorten(pairs: list[list[int]]) -> None:
    """Leave out the last block of a file."""
    max(pairs, key=lambda pair: pair[1])[1] -= 4096


@pytest.mark.parametrize("lose", [lambda pairs: pairs.pop(0), shorten])
def test_index_that_calls_free_what_is_used_is_blamed_and_no_disk(
    store: PathStore, target: Path, lose: Callable[[list[list[int]]], object]
) -> None:
    change_extents(store, lose, consistent=True)
    with pytest.raises(ReimageError, match="the index of lab/1 is damaged: bytes are said to be free"):
        deploy(store, read_index(store, "lab", "1")[0], str(target))


def age(store: PathStore, seconds: float) -> None:
    """Have everything in a store be older."""
    for path in store.root.rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def wrong_clock(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have this computer's clock be wrong, and the files that it touches get its time, as they do on an SMB share."""
    now, utime = time.time, os.utime
    patch.setattr(time, "time", lambda: now() + seconds)
    patch.setattr(os, "utime", lambda path, times=None: utime(path, times or (time.time(), time.time())))


class Year2010(datetime):
    """The clock of a master whose battery is empty."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Year2010:
        return cls(2010, 1, 1, tzinfo=tz)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def everything(store: PathStore) -> list[Path]:
    return sorted(store.root.rglob("*"))


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
            flip(path)
        else:
            path.unlink()
        report = verify_store(store)
        assert list(report.damaged) == [identifier.hex()]
        assert str(path) in report.damaged[identifier.hex()]
        assert list(report.hurt) == ["other/1"]

    @pytest.fixture(autouse=True)
    def remember(self, store: PathStore) -> None:
        self.before = chunks(store)

    @pytest.mark.parametrize("file", ["p3.caibx", "p3.blake3"])
    def test_flipped_bit_in_a_table_hurts_its_image(self, store: PathStore, file: str) -> None:
        flip(store.root / "images/lab/1" / file)
        assert file in verify_store(store).hurt["lab/1"]

    def test_extents_that_make_no_sense_hurt_their_image_and_no_other(self, store: PathStore, master: Path) -> None:
        capture(store, str(master), "other", "1")
        change_extents(store, lambda pairs: pairs.reverse())
        assert "index.json: this is not an index" in verify_store(store).hurt["lab/1"]
        assert list(verify_store(store).hurt) == ["lab/1"]
        assert [image["name"] for image in describe(store).images] == ["other"]
        assert capture(store, str(master), "lab", "2").chunks_new == 0

    def test_extents_that_lost_some_hurt_their_image(self, store: PathStore) -> None:
        change_extents(store, lambda pairs: pairs.pop())
        assert "index.json: it is said to use" in verify_store(store).hurt["lab/1"]

    def test_digest_is_that_of_the_index(self, store: PathStore) -> None:
        assert verify_store(store, "lab", "1", digest(store)).hurt == {}
        assert "is not the index that was asked for" in verify_store(store, "lab", "1", "0" * 64).hurt["lab/1"]

    def test_version_that_lost_its_index_is_hurt(self, store: PathStore, master: Path) -> None:
        capture(store, str(master), "lab", "2")
        (store.root / "images/lab/1/index.json").unlink()
        report = verify_store(store)
        assert sorted(report.images) == ["lab/1", "lab/2"]
        assert list(report.hurt) == ["lab/1"]
        assert f"{store.root}/images/lab/1 has lost its index.json: restore it" in report.hurt["lab/1"]

    def test_damage_is_mended_by_deleting_what_is_named_and_capturing_again(
        self, store: PathStore, captured: Store, master: Path, target: Path
    ) -> None:
        region = next(region for region in captured[1].index.partitions if region.number == ROOT)
        path = store.root / chunk_path(next(iter(read_ids(store, captured[1].index, region))))
        flip(path)
        with pytest.raises(ReimageError, match=f"{path}: .*To mend the store, delete that file"):
            deploy(store, captured[1].index, str(target))
        damaged = list(verify_store(store).damaged.values())
        assert len(damaged) == 1
        assert f"{path}: " in damaged[0]
        path.unlink()
        assert capture(store, str(master), "lab", "2").chunks_new == 1
        assert not verify_store(store).hurt
        assert deploy(store, captured[1].index, str(target)).changed

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
        assert store.description("lab", "", "latest") == b"1"
        age(store, 3600)
        result = prune(store, grace=60)
        assert result.chunks > 0
        assert chunks(store) == before
        assert not verify_store(store).hurt
        # A Mac that looks into a share leaves such files there.
        (store.root / "images/lab/1/._p1.caibx").write_bytes(b"a Mac")
        assert prune(store, grace=60) == type(result)()
        with pytest.raises(ReimageError, match="missing"):
            deploy(store, index, str(target))

    def test_newest_are_kept(self, store: PathStore, master: Path) -> None:
        for version in ("2", "3"):
            time.sleep(1)
            capture(store, str(master), "lab", version)
        assert prune(store, keep=2).versions == ["lab/1"]
        assert store.versions("lab") == ["2", "3"]

    def test_version_that_is_named_does_not_count_among_the_newest(self, store: PathStore, master: Path) -> None:
        for version in ("2", "3"):
            capture(store, str(master), "lab", version)
        assert prune(store, "lab", ["3"], keep=1).versions == ["lab/3", "lab/1"]
        assert store.versions("lab") == ["2"]
        assert store.description("lab", "", "latest") == b"2"

    def test_version_that_is_named_twice_is_removed_once(self, store: PathStore, master: Path) -> None:
        for version in ("2", "3"):
            capture(store, str(master), "lab", version)
        assert prune(store, "lab", ["1", "1"], keep=1).versions == ["lab/1", "lab/2"]
        assert store.versions("lab") == ["3"]

    def test_negative_number_to_keep_is_refused(self, store: PathStore) -> None:
        with pytest.raises(ReimageError, match="keep -1: say how many"):
            prune(store, keep=-1)
        assert store.versions("lab") == ["1"]

    def test_newest_is_what_the_store_got_last_whatever_time_the_master_had(
        self, store: PathStore, master: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        capture(store, str(master), "lab", "2")
        with monkeypatch.context() as patch:
            patch.setattr(capture_module, "datetime", Year2010)
            index = capture(store, str(master), "lab", "0").index
        assert index.created.startswith("2010")
        assert [image["version"] for image in describe(store).images] == ["1", "2", "0"]
        assert prune(store, "lab", ["2"]).versions == ["lab/2"]
        assert store.description("lab", "", "latest") == b"0"
        assert prune(store, keep=1).versions == ["lab/1"]
        assert store.versions("lab") == ["0"]

    def test_latest_is_never_removed_for_being_old_and_stays_latest(self, store: PathStore, master: Path) -> None:
        for version in ("2", "3"):
            capture(store, str(master), "lab", version)
        store.write(store.root / "images/lab/latest", b"1")
        assert prune(store, keep=1).versions == ["lab/2"]
        assert store.versions("lab") == ["1", "3"]
        assert store.description("lab", "", "latest") == b"1"

    def test_dry_run_removes_nothing_and_says_what_the_real_run_does(self, store: PathStore, changed: Path) -> None:
        capture(store, str(changed), "lab", "2")
        for freed, versions in ((False, ["2"]), (True, [])):
            age(store, 3600)
            before = everything(store)
            would = prune(store, "lab", versions, grace=60, dry_run=True)
            assert everything(store) == before
            assert prune(store, "lab", versions, grace=60) == would
            assert (bool(would.chunks), bool(would.leftovers)) == (freed, freed)
        assert not list((store.root / "staging").iterdir())

    def test_dry_run_needs_no_store_that_can_be_written(self, store: PathStore, changed: Path) -> None:
        capture(store, str(changed), "lab", "2")
        sh("mount", "--bind", "-o", "ro", store.root, store.root)
        try:
            later = PathStore(store.root)
            assert prune(later, "lab", ["2"], dry_run=True).versions == ["lab/2"]
            with pytest.raises(ReimageError, match="cannot be written"):
                prune(later, "lab", ["2"])
        finally:
            sh("umount", store.root)

    def test_what_killed_writers_left_is_removed_after_the_grace(self, store: PathStore) -> None:
        before = everything(store)
        chunk = next(path for path in before if path.suffix == ".cacnk")
        for path in (chunk.with_name(f".{chunk.name}.0123.1"), store.root / "staging/0123/p1.caibx"):
            store.write(path, b"half")
        assert prune(store, grace=60).leftovers == 0
        age(store, 3600)
        assert prune(store, grace=60, dry_run=True).leftovers == 2
        assert prune(store, grace=60).leftovers == 2
        assert everything(store) == before

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

    @pytest.mark.parametrize("wrong", ["capture", "prune"])
    @pytest.mark.parametrize("years", [-16, 16])
    def test_clocks_of_those_who_use_the_store_may_be_wrong(
        self, store: PathStore, monkeypatch: pytest.MonkeyPatch, wrong: str, years: int
    ) -> None:
        ages = {number: store.root / chunk_path(bytes([number] * 32)) for number in (1, 2)}
        for path in ages.values():
            store.write(path, b"of a version that was removed")
        age(store, 3600)
        with monkeypatch.context() as patch:
            if wrong == "capture":
                wrong_clock(patch, years * 365 * 86400)
            assert PathStore(store.root).claim_chunk(bytes([1] * 32))
        with monkeypatch.context() as patch:
            if wrong == "prune":
                wrong_clock(patch, years * 365 * 86400)
            assert prune(PathStore(store.root), grace=60).chunks == 1
        assert (ages[1].exists(), ages[2].exists()) == (True, False)
        if wrong == "capture":
            assert abs(ages[1].stat().st_mtime - time.time()) < 60

    def ids(self, store: PathStore) -> Iterator[bytes]:
        for image in describe(store).images:
            for path in (store.root / "images" / image["name"] / image["version"]).glob("*.caibx"):
                data = path.read_bytes()
                yield from (data[at + 8 : at + 40] for at in range(64, len(data) - 40, 40))

    @pytest.mark.parametrize("damage", ["index", "no index", "table", "no table"])
    def test_no_chunk_is_removed_while_it_is_unknown_which_ones_an_image_needs(
        self, store: PathStore, changed: Path, damage: str
    ) -> None:
        capture(store, str(changed), "lab", "2")
        age(store, 3600)
        folder = store.root / "images/lab/1"
        file = folder / ("p3.caibx" if "table" in damage else "index.json")
        if damage.startswith("no "):
            file.unlink()
        elif damage == "index":
            file.write_bytes(b"{}")
        else:
            flip(file)
        before = chunks(store)
        result = prune(store, "lab", ["2"], grace=60)
        assert (result.versions, result.chunks, result.bytes_freed) == (["lab/2"], 0, 0)
        assert [str(folder) in text for text in result.warnings] == [True]
        age(store, 3600)
        assert prune(store, grace=60).chunks == 0
        assert chunks(store) == before
        # Whoever gives it up removes it by name, and all goes on.
        assert prune(store, "lab", ["1"], grace=60).versions == ["lab/1"]
        age(store, 3600)
        result = prune(store, grace=60)
        assert (result.chunks, result.warnings) == (len(before), [])

    def test_image_that_nobody_can_deploy_does_not_stop_the_work_on_others(self, store: PathStore, changed: Path) -> None:
        capture(store, str(changed), "lab", "2")
        index = store.root / "images/lab/2/index.json"
        value = json.loads(index.read_text())
        index.write_text(json.dumps({**value, "label": "sgi"}))
        needed = chunks(store)
        stray = store.root / chunk_path(bytes(32))
        store.write(stray, b"of nobody")
        age(store, 3600)
        result = prune(store, grace=60)
        assert (result.chunks, stray.exists(), chunks(store)) == (1, False, needed)
        assert "images/lab/2 cannot be deployed" in result.warnings[0]
        assert [image["version"] for image in describe(store).images] == ["1"]
        assert list(verify_store(store).hurt) == ["lab/2"]

    def test_damaged_version_does_not_count_among_the_newest_and_stays(self, store: PathStore, master: Path) -> None:
        for version in ("2", "3", "4"):
            capture(store, str(master), "lab", version)
        (store.root / "images/lab/3/index.json").write_bytes(b"{}")
        assert prune(store, "lab", ["4"], keep=1).versions == ["lab/4", "lab/1"]
        assert store.versions("lab") == ["2", "3"]
        assert store.description("lab", "", "latest") == b"2"

    def test_of_an_image_without_versions_only_what_is_ours_goes(self, store: PathStore) -> None:
        note = store.root / "images/lab/note.txt"
        note.write_text("somebody's")
        prune(store, "lab", ["1"])
        assert list(note.parent.iterdir()) == [note]
        note.unlink()

    def test_folder_of_an_image_that_goes_while_a_version_is_published(
        self, store: PathStore, master: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rename = Path.rename

        def race(self: Path, target: Path) -> Path:
            if self.parent.name == "staging":
                monkeypatch.undo()
                prune(store, "lab", ["1"])
                assert not (store.root / "images/lab").exists()
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", race)
        capture(store, str(master), "lab", "2")
        assert (store.versions("lab"), store.description("lab", "", "latest")) == (["2"], b"2")

    def test_unknown_version(self, store: PathStore) -> None:
        with pytest.raises(ReimageError, match="there is: lab/1"):
            prune(store, "lab", ["9"])


class TestInfo:
    def test_says_what_images_share(self, store: PathStore, changed: Path) -> None:
        assert describe(store).images[0]["bytes_shared"] == 0
        captured = capture(store, str(changed), "lab", "2")
        one, two = describe(store).images
        assert two["bytes_own"] >= captured.bytes_new
        assert one["bytes_own"] + one["bytes_shared"] == one["bytes_stored"]
        assert one["bytes_shared"] == two["bytes_shared"] > 0
        assert [image["version"] for image in describe(store, "lab", "latest").images] == ["2"]
        assert [image["version"] for image in describe(store, "", "latest").images] == ["2"]
        assert "bytes_own" not in describe(store, "lab", sizes=False).images[0]

    @pytest.mark.parametrize("damage", ["flip", "remove"])
    def test_damaged_version_does_not_stop_that_of_a_good_one(self, store: PathStore, changed: Path, damage: str) -> None:
        capture(store, str(changed), "lab", "2")
        path = store.root / "images/lab/1/index.json"
        path.write_bytes(b"{") if damage == "flip" else path.unlink()
        found = describe(store, "lab", "latest", sizes=False)
        assert ([image["version"] for image in found.images], found.warnings) == (["2"], [])
        for arguments in (("lab", "latest"), ("lab", "2"), ("lab",), ()):
            found = describe(store, *arguments)
            assert [image["version"] for image in found.images] == ["2"]
            assert len(found.warnings) == 1
            assert found.warnings[0].startswith(f"lab/1 is left out: {path.parent}")
        with pytest.raises(ReimageError, match="images/lab/1"):
            describe(store, "lab", "1")

    def test_version_with_a_damaged_table_has_no_sizes(self, store: PathStore, changed: Path) -> None:
        capture(store, str(changed), "lab", "2")
        flip(store.root / "images/lab/1/p4.caibx")
        found = describe(store)
        assert ["bytes_own" in image for image in found.images] == [False, True]
        assert found.warnings[0].startswith("the sizes of lab/1 are left out: ")


@pytest.mark.parametrize("version", ["latest", "Latest"])
def test_version_is_never_called_latest(store: PathStore, master: Path, version: str) -> None:
    with pytest.raises(ReimageError, match="cannot be called"):
        capture(store, str(master), "lab", version)
    assert store.versions("lab") == ["1"]


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
