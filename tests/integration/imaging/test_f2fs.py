# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2FS, which no kernel that runs the tests can mount: sload.f2fs fills it, fsck.f2fs and dump.f2fs say what is in it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from .conftest import MIB, blank, contents, deploy, partition, sh, tree

SIZE = 128
MAGIC, BLOCK, SEGMENT = 0xF2F52010, 4096, 2 * MIB
CHECKPOINT_AT = 0x4C  # the number of its block, in the superblock, which is at byte 1024
FLAGS_AT, BLOCKS_AT, CHECKSUM_AT, UNMOUNTED = 0x84, 0x88, 4092, 1  # in a checkpoint


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk with files on F2FS."""
    (tmp_path / "tree").mkdir()
    for number in range(8):
        (tmp_path / f"tree/file-{number}").write_bytes(contents(MIB + number * 4097, f"f2fs{number}"))
    disk = blank(tmp_path / "m.raw", SIZE + 2)
    sh("sfdisk", "--quiet", disk, data=f"label: gpt\nsize={SIZE}MiB\n".encode())
    with partition(disk, 1) as device:
        sh("mkfs.f2fs", "-q", "-l", "data", device)
        sh("sload.f2fs", "-f", tmp_path / "tree", device)
    return disk


def test_only_what_it_uses_is_captured_and_that_is_all_of_it(disk: Path, tmp_path: Path) -> None:
    """The target is full of rubbish, so that a block that the map left out would show."""
    store = PathStore(tmp_path)
    captured = capture(store, str(disk), "m", "1")
    assert 8 * MIB < captured.index.bytes_used < 48 * MIB
    target = tmp_path / "target.raw"
    target.write_bytes(contents((SIZE + 2) * MIB, "rubbish"))
    deploy(store, captured.index, str(target))
    with partition(target, 1) as device:
        said = sh("fsck.f2fs", "--dry-run", device).decode()
        assert "[Fail]" not in said and "[Ok..]" in said
        for inode in range(4, 12):
            sh("env", "-C", tmp_path, "dump.f2fs", "-i", hex(inode), device, data=b"Y\n")
        assert b'LABEL="data"' in sh("blkid", "--probe", device)
    assert tree(tmp_path / "lost_found") == tree(tmp_path / "tree")
    assert not deploy(store, captured.index, str(target)).changed


def was_mounted(file: BinaryIO, pack: int) -> None:
    """Have a pack's first and last block, which are the same, say that it is in use."""
    file.seek(pack)
    block = bytearray(file.read(BLOCK))
    flags, count = struct.unpack_from("<II", block, FLAGS_AT)
    struct.pack_into("<I", block, FLAGS_AT, flags & ~UNMOUNTED)
    checksum = zlib.crc32(block[:CHECKSUM_AT], MAGIC ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
    struct.pack_into("<I", block, CHECKSUM_AT, checksum)
    for at in (pack, pack + (count - 1) * BLOCK):
        file.seek(at)
        file.write(block)


def test_one_that_was_not_unmounted_is_refused(disk: Path, tmp_path: Path) -> None:
    with partition(disk, 1) as device, Path(device).open("r+b") as file:
        file.seek(1024 + CHECKPOINT_AT)
        first = struct.unpack("<I", file.read(4))[0] * BLOCK
        for pack in (first, first + SEGMENT):
            was_mounted(file, pack)
    store = PathStore(tmp_path)
    with pytest.raises(ReimageError, match=r"partition 1 \(f2fs\) was not unmounted cleanly"):
        capture(store, str(disk), "m", "1")
    assert capture(store, str(disk), "m", "1", accept=["dirty"]).warnings
