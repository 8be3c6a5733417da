# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a deployed disk holds, checked with the tools of its filesystems."""

from __future__ import annotations

import errno
import hashlib
import http.server
import os
import shutil
import threading
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured, capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Progress
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.http import HttpStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import chunk_path

from .conftest import BOOT_CODE, ESP, MIB, ROOT, WINDOWS, blank, deploy, mounted, partition, sh, tree

Store = tuple[PathStore, Captured]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_deployed_disk_passes_every_check_that_is_not_ours(master: Path, captured: Store, target: Path, tmp_path: Path) -> None:
    store, image = captured
    result = deploy(store, image.index, str(target))
    assert result.changed
    assert b"No problems found" in sh("sgdisk", "--verify", target)
    for number, check in ((ESP, ["fsck.vfat", "-n"]), (WINDOWS, ["ntfsfix", "--no-action"]), (ROOT, ["e2fsck", "-fn"])):
        with partition(target, number) as device:
            sh(*check, device)
    for number, kind in ((ESP, "vfat"), (WINDOWS, "ntfs-3g"), (ROOT, "ext4")):
        with partition(master, number) as device, mounted(device, tmp_path / "mnt", kind, "ro") as folder:
            wanted = tree(folder)
        with partition(target, number) as device, mounted(device, tmp_path / "mnt", kind) as folder:
            assert tree(folder) == wanted


def test_identifiers_names_and_boot_code_survive(master: Path, captured: Store, target: Path) -> None:
    store, image = captured
    deploy(store, image.index, str(target))
    dump = [line.split(":", 1)[-1] for line in sh("sfdisk", "--dump", master).decode().splitlines() if "start=" in line]
    assert [line.split(":", 1)[-1] for line in sh("sfdisk", "--dump", target).decode().splitlines() if "start=" in line] == dump
    assert b"5F2E7A10-9C0B-4B6D-8D5E-0123456789AB" in sh("sfdisk", "--dump", target)
    assert target.read_bytes()[:440] == master.read_bytes()[:440]
    with partition(master, BOOT_CODE) as one, partition(target, BOOT_CODE) as other:
        sh("cmp", one, other)


def test_second_deploy_fetches_and_writes_nothing(captured: Store, target: Path) -> None:
    store, image = captured
    deploy(store, image.index, str(target))
    before = digest(target)
    again = deploy(store, image.index, str(target))
    assert (again.changed, again.bytes_fetched, again.bytes_written, again.chunks_changed) == (False, 0, 0, 0)
    assert digest(target) == before


def test_only_what_differs_is_fetched_and_free_space_is_left_alone(captured: Store, target: Path, tmp_path: Path) -> None:
    store, image = captured
    full = deploy(store, image.index, str(target))
    with partition(target, ROOT) as device, mounted(device, tmp_path / "mnt", "ext4") as folder:
        with (folder / "file-1").open("r+b") as file:
            file.write(b"changed")
        (folder / "new").write_bytes(b"a user's file" * 1000)
    again = deploy(store, image.index, str(target))
    assert again.changed
    assert 0 < again.bytes_fetched < full.bytes_fetched / 3
    with partition(target, ROOT) as device:
        sh("e2fsck", "-fn", device)


def test_free_space_is_neither_compared_nor_written(captured: Store, target: Path) -> None:
    store, index = captured[0], captured[1].index
    target.write_bytes(b"\xa5" * target.stat().st_size)
    deploy(store, index, str(target))
    data = target.read_bytes()
    free = [(one.start + offset, length) for one in index.partitions for offset, length in one.extents.free(one.size)]
    assert sum(length for _offset, length in free) > 100 * MIB
    for offset, length in free:
        assert data[offset : offset + length] == b"\xa5" * length
    with target.open("r+b") as file:
        for offset, length in free:
            file.seek(offset)
            file.write(b"\x5a" * length)
    before = digest(target)
    assert not deploy(store, index, str(target)).changed
    assert digest(target) == before


def test_progress_is_told_to_the_end_of_each_stage(captured: Store, target: Path) -> None:
    told: list[Progress] = []
    deploy(captured[0], captured[1].index, str(target), callback=told.append)
    stages = [stage for stage, _same in groupby(one.stage for one in told)]
    assert stages == ["starting", "writing", "verifying"]
    for stage in stages:
        last = [one for one in told if one.stage == stage][-1]
        assert (last.done, last.eta) == (last.total, 0)
    assert last.total > 0
    assert all(one.title == "lab/1" and 0 <= one.done <= one.total and one.rate >= 0 and one.eta >= 0 for one in told)


def test_dry_run_names_what_differs_and_writes_nothing(captured: Store, target: Path) -> None:
    store, image = captured
    deploy(store, image.index, str(target))
    with target.open("r+b") as file:
        file.seek(266240 * 512 + 1024)
        file.write(b"\xff")
    before = digest(target)
    found = deploy(store, image.index, str(target), dry_run=True)
    assert (found.changed, found.differing) == (True, [(ROOT, 0, 266240 * 512)])
    assert digest(target) == before


def test_casync_restores_what_was_captured(captured: Store, tmp_path: Path) -> None:
    store, _image = captured
    restored = tmp_path / "root.img"
    sh("casync", "extract", f"--store={store.root}/chunks", store.root / "images/lab/1/p4.caibx", restored)
    sh("e2fsck", "-fn", restored)


def test_second_capture_stores_nothing_new(master: Path, captured: Store, tmp_path: Path) -> None:
    shutil.copytree(captured[0].root, tmp_path, dirs_exist_ok=True)
    assert capture(PathStore(tmp_path), str(master), "lab", "2").chunks_new == 0


def test_master_is_not_changed_by_a_capture(master: Path, tmp_path: Path) -> None:
    before = digest(master)
    capture(PathStore(tmp_path), str(master), "lab", "1")
    assert digest(master) == before


@pytest.fixture
def server(captured: Store) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_unused: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(captured[0].root))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def test_deploy_over_http(server: str, captured: Store, target: Path) -> None:
    store = HttpStore(server)
    index, found = read_index(store, "lab", "1")
    assert found == read_index(captured[0], "lab", "1")[1]
    deploy(store, index, str(target))
    assert not deploy(captured[0], index, str(target)).changed


class BadSectors:
    """A disk with places that cannot be read; those that C(mends) are good again when they were written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, disk: Path, places: list[int], *, mends: bool = True) -> None:
        self.places = set(places)
        device = disk.stat().st_ino
        preadv, pread, pwrite = os.preadv, os.pread, os.pwrite

        def refuse(file: int, offset: int, length: int) -> None:
            if os.fstat(file).st_ino == device and any(offset <= place < offset + length for place in self.places):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        def read_into(file: int, buffers: list[memoryview], offset: int) -> int:
            refuse(file, offset, len(buffers[0]))
            return preadv(file, buffers, offset)

        def read(file: int, length: int, offset: int) -> bytes:
            refuse(file, offset, length)
            return pread(file, length, offset)

        def write(file: int, data: memoryview, offset: int) -> int:
            if mends and os.fstat(file).st_ino == device:
                self.places -= {place for place in self.places if offset <= place < offset + len(data)}
            return pwrite(file, data, offset)

        monkeypatch.setattr(os, "preadv", read_into)
        monkeypatch.setattr(os, "pread", read)
        monkeypatch.setattr(os, "pwrite", write)


class TestBadSectors:
    TABLE, CONTENT = 512, 266240 * 512 + 1024

    def test_those_of_the_target_are_written_again(self, captured: Store, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store, index = captured[0], captured[1].index
        deploy(store, index, str(target))
        before = digest(target)
        bad = BadSectors(monkeypatch, target, [self.TABLE, self.CONTENT])
        found = deploy(store, index, str(target), dry_run=True)
        assert (found.differing, found.table_differs) == ([(ROOT, 0, 266240 * 512)], True)
        assert deploy(store, index, str(target)).chunks_changed == 1
        assert not bad.places
        assert digest(target) == before

    def test_those_that_stay_bad_are_named(self, captured: Store, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        BadSectors(monkeypatch, target, [self.CONTENT], mends=False)
        with pytest.raises(ReimageError, match=f"does not hold what was written to it: partition {ROOT}, chunk 0"):
            deploy(captured[0], captured[1].index, str(target))

    @pytest.mark.parametrize("place", [TABLE, CONTENT])
    def test_those_of_the_master_are_named(
        self, master: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
    ) -> None:
        BadSectors(monkeypatch, master, [place])
        with pytest.raises(ReimageError, match=rf"disk {master}: reading at byte \d+ failed: Input/output error"):
            capture(PathStore(tmp_path), str(master), "lab", "1")
        assert not (tmp_path / "images").exists()


def test_disk_that_answers_in_small_pieces_is_read_whole(master: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = master.read_bytes()[:10_000]
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, length, offset: pread(file, min(length, 999), offset))
    with Device(str(master)) as device:
        assert device.read(0, 10_000) == wanted
        assert len(device.read(device.size - 10, 100)) == 10


class TestRefusals:
    def damaged(self, captured: Store, tmp_path: Path) -> PathStore:
        root = tmp_path / "damaged"
        shutil.copytree(captured[0].root, root)
        return PathStore(root)

    @pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
    def test_damaged_chunk_is_named_and_never_written(self, captured: Store, target: Path, tmp_path: Path, damage: str) -> None:
        store = self.damaged(captured, tmp_path)
        index = captured[1].index
        data = (store.root / "images/lab/1/p4.caibx").read_bytes()
        identifier = data[64 + 8 : 64 + 40]
        path = store.root / chunk_path(identifier)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        {"flip": lambda: path.write_bytes(content), "truncate": lambda: path.write_bytes(content[:99]), "remove": path.unlink}[
            damage
        ]()
        with pytest.raises(ReimageError, match=identifier.hex()):
            deploy(store, index, str(target))
        with target.open("rb") as file:
            assert file.read(34 * 512) == bytes(34 * 512)
        assert deploy(captured[0], index, str(target)).changed
        assert b"No problems found" in sh("sgdisk", "--verify", target)

    def test_disk_that_does_not_keep_what_it_was_given_is_found_out(
        self, captured: Store, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written = Device.write

        def write(self: Device, offset: int, data: bytes) -> None:
            written(self, offset, data)
            if len(data) == MIB:
                written(self, offset + 4711, b"\0" if data[4711] else b"\1")

        with monkeypatch.context() as patch:
            patch.setattr(Device, "write", write)
            with pytest.raises(ReimageError, match="does not hold what was written to it: partition"):
                deploy(captured[0], captured[1].index, str(target))
        with target.open("rb") as file:
            assert file.read(34 * 512) == bytes(34 * 512)

    @pytest.mark.parametrize("file", ["p4.caibx", "p4.blake3"])
    def test_damaged_table_is_named_before_anything_is_written(
        self, captured: Store, target: Path, tmp_path: Path, file: str
    ) -> None:
        store = self.damaged(captured, tmp_path)
        path = store.root / "images/lab/1" / file
        path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
        before = digest(target)
        with pytest.raises(ReimageError, match=file):
            deploy(store, captured[1].index, str(target))
        assert digest(target) == before

    def test_other_digest(self, captured: Store) -> None:
        with pytest.raises(ReimageError, match="SHA-256"):
            read_index(captured[0], "lab", "1", "00" * 32)

    def test_too_small_disk(self, captured: Store, tmp_path: Path) -> None:
        small = blank(tmp_path / "small.raw", 130)
        with pytest.raises(ReimageError, match="too small"):
            deploy(captured[0], captured[1].index, str(small))
        assert small.read_bytes() == bytes(130 * MIB)

    def test_unknown_image_and_version_name_what_there_is(self, captured: Store) -> None:
        with pytest.raises(ReimageError, match="there is: lab/1"):
            read_index(captured[0], "lab", "7")
        with pytest.raises(ReimageError, match="there is: lab"):
            read_index(captured[0], "nosuch", "latest")

    def test_version_that_exists(self, master: Path, captured: Store) -> None:
        with pytest.raises(ReimageError, match="already"):
            capture(captured[0], str(master), "lab", "1")

    def test_server_that_is_gone(self, captured: Store) -> None:
        with pytest.raises(ReimageError, match="does not answer"):
            read_index(HttpStore("http://127.0.0.1:9/store"), "lab", "1")
