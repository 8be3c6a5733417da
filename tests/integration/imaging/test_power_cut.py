# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plug is pulled at any moment.

The process is killed at random points, which loses nothing that was written; and, for what a power cut does beyond that, the
writes of a deploy are replayed with any of those lost that no sync had made safe.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured, capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.verify import verify_store

from ..loops import await_no_loop
from .conftest import MIB, ROOT, WINDOWS, deploy, mounted, partition, sh
from .test_layouts import LINUX, check, files, make, sizes

COLLECTIONS = Path(__file__).resolve().parents[3] / "var/collections"
DEPLOYS, CAPTURES, GROWS = 24, 8, 8
PROGRAM = """
import sys
from pathlib import Path
from ansible_collections.reimage.lab.plugins.module_utils.imaging import capture, deploy
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources
print("ready", flush=True)
action, root, disk, version = sys.argv[1:]
where = PathStore(Path(root))
if action == "capture":
    capture.capture(where, disk, "lab", version)
else:
    index = read_index(where, "lab", version)[0]
    deploy.deploy(Sources([where]), index, disk, callback=lambda progress: print(progress.stage, flush=True))
"""

Store = tuple[PathStore, Captured]


def start(action: str, store: PathStore, disk: Path, version: str) -> subprocess.Popen[bytes]:
    """Start work, and return when all is loaded and it begins."""
    arguments = [sys.executable, "-c", PROGRAM, action, str(store.root), str(disk), version]
    environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return process


def duration(action: str, store: PathStore, disk: Path, version: str) -> float:
    process = start(action, store, disk, version)
    began = time.monotonic()
    assert process.wait(120) == 0
    return time.monotonic() - began


def cut(action: str, store: PathStore, disk: Path, version: str, after: float) -> bool:
    """Kill the work after some seconds, and return whether it was still going on."""
    process = start(action, store, disk, version)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        kill(process, disk)
        return True
    return False


def kill(process: subprocess.Popen[bytes], disk: Path) -> None:
    """Kill the work and what it runs, and remove what no power cut would leave."""
    with suppress(ProcessLookupError):  # it has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for loop in sh("losetup", "--noheadings", "--list", "--output", "NAME", "--associated", disk).decode().split():
        subprocess.run(["losetup", "--detach", loop], check=False, capture_output=True)  # it may go by itself
    await_no_loop(disk)


def digest(disk: Path) -> str:
    return hashlib.sha256(disk.read_bytes()).hexdigest()


def boots(disk: Path) -> bool:
    """Whether firmware or kernel would find any system: a boot sector, or a partition table at either end."""
    with disk.open("rb") as file:
        first = file.read(1024)
        file.seek(-512, os.SEEK_END)
        return any(first) or any(file.read())


def body(disk: bytes) -> bytes:
    """Return what is between the partition tables at both ends."""
    return disk[34 * 512 : -34 * 512]


@pytest.fixture
def versions(captured: Store, master: Path, tmp_path: Path) -> PathStore:
    """A store with two versions of an image, which differ in two partitions."""
    shutil.copytree(captured[0].root, tmp_path / "store")
    store = PathStore(tmp_path / "store")
    disk = tmp_path / "newer.raw"
    sh("cp", "--sparse=always", master, disk)
    for number, kind in ((WINDOWS, "ntfs-3g"), (ROOT, "ext4")):
        with partition(disk, number) as device, mounted(device, tmp_path / "mnt", kind) as folder:
            (folder / "new").write_bytes(random.Random(number).randbytes(25 * MIB))
    capture(store, str(disk), "lab", "2")
    return store


def test_disk_is_old_or_new_or_plainly_not_bootable_and_a_second_run_resumes(
    versions: PathStore, target: Path, tmp_path: Path
) -> None:
    chance = random.Random(4711)
    image = str(target)
    old, new = tmp_path / "old.raw", tmp_path / "new.raw"
    deploy(versions, index_of(versions, "1"), image)
    sh("cp", "--sparse=always", target, old)
    whole = duration("deploy", versions, target, "2")
    sh("cp", "--sparse=always", target, new)
    seen = {"old": 0, "new": 0, "not bootable": 0, "resumed with less": 0}
    names = {digest(old): "old", digest(new): "new"}
    complete = deploy(versions, index_of(versions, "2"), str(fresh(old, target)))
    for _number in range(DEPLOYS):
        fresh(old, target)
        cut("deploy", versions, target, "2", chance.uniform(0, whole * 1.1))
        kind = names.get(digest(target), "not bootable")
        seen[kind] += 1
        if kind == "not bootable" and boots(target):
            # The cut came between the two ends of the disk: what it starts is all old, or all new.
            assert body(target.read_bytes()) in (body(old.read_bytes()), body(new.read_bytes()))
        again = deploy(versions, index_of(versions, "2"), image)
        assert again.bytes_fetched <= complete.bytes_fetched
        seen["resumed with less"] += kind == "not bootable" and again.bytes_fetched < complete.bytes_fetched
        assert names[digest(target)] == "new"
    # Without these the cuts would have missed the time that matters.
    assert seen["not bootable"] >= 3
    assert seen["resumed with less"] >= 1


def test_writes_that_no_sync_made_safe_may_be_lost(
    versions: PathStore, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(99)
    index = index_of(versions, "2")
    deploy(versions, index_of(versions, "1"), str(target))
    old = target.read_bytes()
    done: list[tuple[int, bytes] | None] = []
    lock = threading.Lock()

    def write(self: Device, offset: int, data: bytes) -> None:
        with lock:
            done.append((offset, bytes(data)))
        original_write(self, offset, data)

    def sync(self: Device) -> None:
        original_sync(self)
        with lock:
            done.append(None)

    original_write, original_sync = Device.write, Device.sync
    with monkeypatch.context() as patch:
        patch.setattr(Device, "write", write)
        patch.setattr(Device, "sync", sync)
        deploy(versions, index, str(target))
    new = target.read_bytes()
    blank_ones = 0
    # Every place near a sync, where the order matters, and some others.
    syncs = [number for number, entry in enumerate(done) if entry is None]
    cuts = sorted({max(0, one + shift) for one in syncs for shift in (-1, 0, 1, 2)} | set(chance.sample(range(len(done)), 20)))
    for at in cuts:
        safe = max([number for number in syncs if number <= at], default=-1)
        disk = bytearray(old)
        for number, entry in enumerate(done[: at + 1]):
            if entry is not None and (number < safe or chance.random() < 0.5):
                disk[entry[0] : entry[0] + len(entry[1])] = entry[1]
        if not (any(disk[:1024]) or any(disk[-512:])):
            blank_ones += 1
            continue
        # An old disk may have lost the zeros that were to be written to its beginning and end; a new one nothing but its table.
        assert body(bytes(disk)) in (body(old), body(new))
    assert blank_ones > 5


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_disk_whose_partition_grows_is_not_bootable_before_it_has_grown(tmp_path: Path, label: str) -> None:
    chance = random.Random(7)
    kind = LINUX if label == "gpt" else "83"
    master = make(tmp_path / "m.raw", 132, [("ext4", "boot", 20, kind), ("ext4", "root", 110, kind)], label)
    store = PathStore(tmp_path / "store")
    store.root.mkdir()
    index = capture(store, str(master), "lab", "1").index
    old = make(tmp_path / "old.raw", 200, [("ext4", "old", 190, kind)], label)
    target = tmp_path / "pc.raw"
    seen = {"old": 0, "not bootable": 0, "new": 0}
    for number in range(GROWS):
        fresh(old, target)
        process = start("deploy", store, target, "1")
        assert process.stdout
        # Half of the cuts come while it grows.
        while number % 2 and b"resizing" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(chance.uniform(0, 0.25))
        kill(process, target)
        if digest(target) == digest(old):
            seen["old"] += 1
        elif any(target.read_bytes()[:512]):
            seen["new"] += 1
            assert not deploy(store, index, str(target), dry_run=True).changed
        else:
            seen["not bootable"] += 1
        deploy(store, index, str(target))
        assert sizes(target) == [20, 178]
        for partition_number in (1, 2):
            check(target, partition_number, "ext4")
            assert files(target, partition_number, "ext4") == files(master, partition_number, "ext4")
        assert not deploy(store, index, str(target), dry_run=True).changed
    assert seen["not bootable"] >= GROWS // 4


def test_nothing_half_is_published_and_a_second_capture_finds_what_the_first_stored(
    captured: Store, master: Path, tmp_path: Path
) -> None:
    chance = random.Random(42)
    total = captured[1].chunks_new
    for number in range(CAPTURES):
        store = PathStore(tmp_path / f"store-{number}")
        store.root.mkdir()
        process = start("capture", store, master, "1")
        wanted = chance.randrange(1, total)
        while process.poll() is None and stored(store) < wanted:
            time.sleep(0.001)
        kill(process, master)
        found = stored(store)
        if store.versions("lab"):
            assert found == total
        else:
            again = capture(store, str(master), "lab", "1")
            assert again.chunks_new == total - found
        assert not verify_store(store).hurt
        shutil.rmtree(store.root)


def test_chunks_that_a_power_cut_left_damaged_are_stored_again(captured: Store, master: Path, tmp_path: Path) -> None:
    """The computer with the store lost its power before what the first capture wrote was on its disk."""
    store = PathStore(tmp_path / "store")
    shutil.copytree(captured[0].root / "chunks", store.root / "chunks")
    left = sorted((store.root / "chunks").glob("*/*.cacnk"))
    for number, path in enumerate(left[::7]):
        data = path.read_bytes()
        path.write_bytes((data[: len(data) // 2], bytes(len(data)), b"", data[:-1])[number % 4])
    again = capture(store, str(master), "lab", "1")
    assert again.chunks_new == len(left[::7])
    assert not verify_store(store).hurt


def stored(store: PathStore) -> int:
    """Return the number of chunks that are whole in a store."""
    return sum(1 for _path in (store.root / "chunks").glob("*/*.cacnk"))


def index_of(store: PathStore, version: str) -> Index:
    return read_index(store, "lab", version)[0]


def fresh(source: Path, target: Path) -> Path:
    sh("cp", "--sparse=always", source, target)
    return target
