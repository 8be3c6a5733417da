# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A master's disk with the filesystems of a dual-boot PC, and a store with its image."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Sequence

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured, capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.deploy import Result
from ansible_collections.reimage.lab.plugins.module_utils.imaging.deploy import deploy as deploy_from
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store import http as http_store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources

MIB = 1 << 20
BOOT_CODE, ESP, WINDOWS, ROOT = 1, 2, 3, 4
LAYOUT = b"""label: gpt
label-id: 5F2E7A10-9C0B-4B6D-8D5E-0123456789AB
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, name="boot code"
start=4096, size=98304, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="ESP"
start=102400, size=163840, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name="Windows", attrs="GUID:63"
start=266240, size=204800, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name="root"
"""


def deploy(store: Store, index: Index, disk: str, *, mirrors: Sequence[Store] = (), **options: Any) -> Result:
    """Deploy from one store, and its mirrors."""
    return deploy_from(Sources([store, *mirrors]), index, disk, **options)


def sh(*arguments: object, data: bytes | None = None) -> bytes:
    """Run a tool that is not ours; its failure is the test's."""
    return subprocess.run([str(word) for word in arguments], input=data, check=True, capture_output=True).stdout


def blank(disk: Path, mib: int) -> Path:
    """Make an empty disk."""
    with disk.open("wb") as file:
        file.truncate(mib * MIB)
    return disk


def contents(size: int, seed: str) -> bytes:
    """Return the same half-compressible bytes every time."""
    blocks = (hashlib.sha256(f"{seed}{number}".encode()).digest() + bytes(32) for number in range(-(-size // 64)))
    return b"".join(blocks)[:size]


@contextmanager
def partition(disk: Path, number: int) -> Iterator[str]:
    """One partition of a disk file as a loop device."""
    said = sh("sfdisk", "--json", disk)
    table = json.loads(said[said.index(b"{") :])["partitiontable"]["partitions"]
    found = [item for item in table if item["node"] == f"{disk}{number}"][0]  # noqa: RUF015  next() ends a generator
    size = found["size"] * 512
    # A loop device keeps the sector size of its last user.
    span = ["--sector-size", 512, "--offset", found["start"] * 512, "--sizelimit", size]
    loop = sh("losetup", "--find", "--show", *span, disk).decode().strip()
    try:
        yield loop
    finally:
        sh("losetup", "--detach", loop)


@contextmanager
def mounted(device: str, folder: Path, kind: str = "auto", options: str = "rw") -> Iterator[Path]:
    """A filesystem, mounted for a moment; FAT, which not every kernel has, is copied in and out with mtools."""
    folder.mkdir(exist_ok=True)
    if kind == "vfat":
        copy = folder.with_name("fat")
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        if sh("mdir", "-b", "-i", device, "::"):
            sh("mcopy", "-n", "-i", device, "::*", copy)
        held = set(tree(copy).items())
        yield copy
        changed = [copy / name for name, _digest in set(tree(copy).items()) - held]
        if changed:
            sh("mcopy", "-n", "-i", device, *changed, "::")
        return
    try:
        if options == "ro":
            # Otherwise XFS writes even so.
            sh("blockdev", "--setro", device)
        sh("mount", "-t", kind, "-o", options, device, folder)
        try:
            yield folder
        finally:
            sh("umount", folder)
    finally:
        # A loop device keeps this for its next user.
        sh("blockdev", "--setrw", device)


def fill(folder: Path, seed: str) -> None:
    """Put files into a filesystem, and delete some, so that its free space is not zeros."""
    for number in range(12):
        (folder / f"file-{number}").write_bytes(contents(MIB + number * 4097, f"{seed}{number}"))
    sh("sync", "-f", folder)
    for number in range(0, 12, 3):
        (folder / f"file-{number}").unlink()


def tree(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A web server that does not answer is asked again at once."""
    monkeypatch.setattr(http_store, "PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk of 240 MiB: boot code, FAT, NTFS and ext4."""
    folder = tmp_path_factory.mktemp("master")
    disk = folder / "master.raw"
    with disk.open("wb") as file:
        file.truncate(240 * MIB)
        file.write(contents(440, "mbr boot code"))
    sh("sfdisk", "--quiet", disk, data=LAYOUT)
    with partition(disk, BOOT_CODE) as device:
        Path(device).write_bytes(contents(100_000, "grub core"))
    for number, make, kind in (
        (ESP, ["mkfs.vfat", "-F", "32", "-n", "ESP"], "vfat"),
        (WINDOWS, ["mkfs.ntfs", "-F", "-q", "-L", "Windows"], "ntfs-3g"),
        (ROOT, ["mkfs.ext4", "-q", "-L", "root"], "ext4"),
    ):
        with partition(disk, number) as device:
            sh(*make, device)
            with mounted(device, folder / "mnt", kind) as mount:
                fill(mount, kind)
    return disk


@pytest.fixture(scope="session")
def captured(master: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PathStore, Captured]:
    """A store that holds the master as C(lab/1)."""
    root = tmp_path_factory.mktemp("store")
    store = PathStore(root)
    return store, capture(store, str(master), "lab", "1")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A blank disk of the master's size."""
    return blank(tmp_path / "target.raw", 240)
