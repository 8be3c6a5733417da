# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partition tables as people have them: what can be deployed is what other software reads, and the rest is refused at capture."""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured, capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from .conftest import MIB, blank, deploy, partition, sh

LDM_DATA, LDM_METADATA = "AF9B60A0-1431-4F62-BC68-3311714A69AD", "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3"
SECTOR = 512


@pytest.fixture
def store(tmp_path: Path) -> PathStore:
    return PathStore(tmp_path / "store")


def scripted(disk: Path, mib: int, script: str) -> Path:
    """Make a disk with a table as sfdisk makes it of a script."""
    blank(disk, mib)
    sh("sfdisk", "--quiet", disk, data=script.encode())
    return disk


def with_gpt(disk: Path, mib: int, *options: str) -> Path:
    """Make a disk with a GPT as sgdisk makes it."""
    sh("sgdisk", *options, blank(disk, mib))
    return disk


def patch(disk: Path, offset: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def table(disk: Path) -> dict[int, tuple[int, int]]:
    """Return start and size of each partition, in sectors."""
    found = json.loads(sh("sfdisk", "--json", disk))["partitiontable"]["partitions"]
    return {int(item["node"][len(str(disk)) :]): (item["start"], item["size"]) for item in found}


def mbr(disk: Path) -> list[tuple[int, int, int]]:
    """Return type, start and size of the entries of a disk's first sector."""
    with disk.open("rb") as file:
        head = file.read(SECTOR)
    entries = [struct.unpack_from("<B3sB3sII", head, 446 + 16 * slot) for slot in range(4)]
    return [(entry[2], entry[4], entry[5]) for entry in entries]


def refused(store: PathStore, disk: Path, said: str) -> None:
    """A capture is refused with one error, in check mode too, and nothing is stored."""
    before = disk.read_bytes()
    for dry_run in (True, False):
        with pytest.raises(ReimageError, match=said):
            capture(store, str(disk), "lab", "1", dry_run=dry_run)
    assert not list(store.root.rglob("*.cacnk"))
    assert store.images() == []
    assert disk.read_bytes() == before


def deployed(store: PathStore, captured: Captured, disk: Path, grow: str = "auto") -> Path:
    """Deploy, and look whether a second run finds nothing to do."""
    assert deploy(store, captured.index, str(disk), grow=grow).changed
    again = deploy(store, captured.index, str(disk), grow=grow)
    assert (again.changed, again.bytes_written) == (False, 0)
    return disk


class TestRefusals:
    @pytest.mark.parametrize("kind", ["sgi", "sun"])
    def test_table_of_another_kind(self, store: PathStore, tmp_path: Path, kind: str) -> None:
        disk = scripted(tmp_path / "m.raw", 20, f"label: {kind}\nsize=20000\n")
        refused(store, disk, f"table of kind {kind}: only a GPT and an MBR")

    def test_entries_that_overlap(self, store: PathStore, tmp_path: Path) -> None:
        disk = scripted(tmp_path / "m.raw", 40, "label: dos\nstart=2048, size=20480\nstart=40960, size=20480\n")
        patch(disk, 446 + 16 + 8, struct.pack("<I", 20480))
        refused(store, disk, "is not captured, because its image could not be deployed to any disk: .*partition 2 overlaps")

    @pytest.mark.parametrize(
        "script",
        [
            "label: dos\nstart=2048, size=20480, type=42\n",
            f"label: gpt\nstart=2048, size=2048, type={LDM_METADATA}\nstart=4096, size=20480, type={LDM_DATA}\n",
        ],
    )
    def test_dynamic_disk(self, store: PathStore, tmp_path: Path, script: str) -> None:
        refused(store, scripted(tmp_path / "m.raw", 40, script), "is a dynamic disk.*convert it to a basic disk")

    def test_two_extended_partitions(self, store: PathStore, tmp_path: Path) -> None:
        script = "label: dos\nstart=2048, size=4096, type=83\nstart=20480, size=20480, type=5\nstart=22528, size=2048\n"
        disk = scripted(tmp_path / "m.raw", 40, script)
        patch(disk, 446 + 4, b"\x85")
        refused(store, disk, "has two extended partitions")

    def test_both_copies_of_a_gpt_damaged(self, store: PathStore, tmp_path: Path) -> None:
        disk = with_gpt(tmp_path / "m.raw", 20, "-n1:2048:+10M")
        for copy in (SECTOR, 20 * MIB - SECTOR):
            patch(disk, copy + 56, b"\1\2")
        refused(store, disk, "GUID partition table is damaged|no partition table")

    def test_entries_too_far_from_the_beginning(self, store: PathStore, tmp_path: Path) -> None:
        disk = with_gpt(tmp_path / "m.raw", 60, "-n1:70000:+10M")
        sh("sgdisk", "-j", 68000, disk)
        refused(store, disk, r"at sector 68000, .*--move-main-table=2")


class TestGpt:
    @pytest.mark.parametrize("damage", [SECTOR + 56, 2 * SECTOR + 56])
    def test_damaged_one_is_mended_in_the_image_from_its_copy(self, store: PathStore, tmp_path: Path, damage: int) -> None:
        """One damaged byte in the header, and one in the entries."""
        good = with_gpt(tmp_path / "good.raw", 20, "-n1:2048:+10M", "-c1:data")
        disk = tmp_path / "m.raw"
        disk.write_bytes(good.read_bytes())
        patch(disk, damage, b"\1\2")
        captured = capture(store, str(disk), "lab", "1")
        assert re.search("the GUID partition table is damaged: .*; the image has the copy at the end", captured.warnings[0])
        target = deployed(store, captured, blank(tmp_path / "pc.raw", 20))
        assert b"No problems found" in sh("sgdisk", "--verify", target)
        sh("cmp", good, target)

    @pytest.mark.parametrize("sector", [2016, 16384])
    def test_entries_that_were_moved_out_of_the_way_stay_where_they_are(
        self, store: PathStore, tmp_path: Path, sector: int
    ) -> None:
        disk = with_gpt(tmp_path / "m.raw", 30, "-n1:20480:+10M")
        sh("sgdisk", "-j", sector, disk)
        patch(disk, 2 * SECTOR, b"boot loader of a board")
        captured = capture(store, str(disk), "lab", "1")
        sh("cmp", disk, deployed(store, captured, blank(tmp_path / "same.raw", 30)))
        larger = deployed(store, captured, blank(tmp_path / "larger.raw", 50))
        assert b"No problems found" in sh("sgdisk", "--verify", larger)
        assert table(larger) == table(disk)

    def test_hybrid_mbr_follows_its_partitions(self, store: PathStore, tmp_path: Path) -> None:
        disk = with_gpt(tmp_path / "m.raw", 50, "-n1:2048:+20M", "-n2:0:+10M", "-n3:0:+10M")
        sh("sgdisk", "-h", "1:2", disk)
        with partition(disk, 1) as device:
            sh("mkfs.ext4", "-q", device)
        captured = capture(store, str(disk), "lab", "1")
        same = deployed(store, captured, blank(tmp_path / "same.raw", 50))
        assert mbr(same) == mbr(disk)
        larger = deployed(store, captured, blank(tmp_path / "larger.raw", 80), grow="1")
        found = table(larger)
        assert found[1] == (2048, 50 * MIB // SECTOR)
        assert mbr(larger) == [(0xEE, 1, 2047), (0x83, *found[1]), (0x83, *found[2]), (0, 0, 0)]
        assert b"No problems found" in sh("sgdisk", "--verify", larger)

    def test_protective_entry_behind_the_others_of_a_hybrid_mbr_overlaps_none(self, store: PathStore, tmp_path: Path) -> None:
        disk = with_gpt(tmp_path / "m.raw", 40, "-n1:2048:+20M", "-n2:0:+10M")
        with partition(disk, 1) as device:
            sh("mkfs.ext4", "-q", device)
        entry = struct.Struct("<B3sB3sII")
        first, last = table(disk)[1], 40 * MIB // SECTOR - 1
        entries = [(0x83, *first), (0xEE, 1, 2047), (0xEE, sum(first), last + 1 - sum(first))]
        packed = b"".join(entry.pack(0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", *span) for kind, *span in entries)
        patch(disk, 446, packed)
        captured = capture(store, str(disk), "lab", "1")
        larger = deployed(store, captured, blank(tmp_path / "larger.raw", 60), grow="1")
        end, last = sum(table(larger)[1]), 60 * MIB // SECTOR - 1
        assert mbr(larger)[:3] == [(0x83, *table(larger)[1]), (0xEE, 1, 2047), (0xEE, end, last + 1 - end)]
        assert b"No problems found" in sh("sgdisk", "--verify", larger)

    def test_what_a_board_boots_from_in_a_long_gap_is_captured(self, store: PathStore, tmp_path: Path) -> None:
        """U-Boot of a board with a Rockchip: in sectors 64, 16384 and 24576, before the first partition at 16 MiB."""
        disk = with_gpt(tmp_path / "m.raw", 20, "-n1:32768:+2M")
        for sector in (64, 16384, 24576, 32767):
            patch(disk, sector * SECTOR, os.urandom(SECTOR))
        captured = capture(store, str(disk), "lab", "1")
        assert "a boot loader may be there" in captured.warnings[0]
        sh("cmp", disk, deployed(store, captured, blank(tmp_path / "pc.raw", 20)))

    def test_gap_that_is_too_long_is_named(self, store: PathStore, tmp_path: Path) -> None:
        disk = with_gpt(tmp_path / "m.raw", 50, "-n1:40M:+2M")
        captured = capture(store, str(disk), "lab", "1")
        assert f"the bytes {32 * MIB} to {40 * MIB}, before the first partition, are not in the image" in captured.warnings[0]


class TestLogicalPartitions:
    """The chain gives the partitions their numbers, and the disk need not have them in that order."""

    @pytest.mark.parametrize("recreated", [5, 6])
    @pytest.mark.parametrize("grows", [5, 6, 7])
    def test_chain_in_another_order(self, store: PathStore, tmp_path: Path, recreated: int, grows: int) -> None:
        spans = {5: (4096, 10240), 6: (16384, 10240), 7: (28672, 10240)}
        extended = "label: dos\nstart=2048, size=38912, type=5\n"
        logical = "".join(f"start={start}, size={size}\n" for start, size in spans.values())
        disk = scripted(tmp_path / "m.raw", 24, extended + logical)
        sh("sfdisk", "--quiet", "--delete", disk, recreated)
        start, size = spans[recreated]
        sh("sfdisk", "--quiet", "--append", disk, data=f"start={start}, size={size}\n".encode())
        order = [spans[number] for number in (5, 6, 7) if number != recreated] + [spans[recreated]]
        assert [table(disk)[number] for number in (5, 6, 7)] == order
        with partition(disk, grows) as device:
            sh("mkfs.ext4", "-q", device)
        captured = capture(store, str(disk), "lab", "1")
        sh("cmp", "-n", MIB, disk, deployed(store, captured, blank(tmp_path / "same.raw", 24)))
        larger = deployed(store, captured, blank(tmp_path / "larger.raw", 40), grow=str(grows))
        moved = 16 * MIB // SECTOR
        for number, (start, size) in zip((5, 6, 7), order):
            wanted = (start + (moved if start > order[grows - 5][0] else 0), size + (moved if number == grows else 0))
            assert table(larger)[number] == wanted
        assert b"No errors detected" in sh("sfdisk", "--verify", larger)
        assert b"ext4" in sh("blkid", "-p", "-o", "value", "-O", table(larger)[grows][0] * SECTOR, larger)
        sh("parted", "--script", larger, "print")


def test_second_metadata_area_of_a_physical_volume_is_captured(store: PathStore, tmp_path: Path) -> None:
    disk = with_gpt(tmp_path / "m.raw", 30, "-n1:2048:+20M", "-t1:8e00")
    with partition(disk, 1) as device:
        only = ["--config", f'devices {{ filter=["a|{device}|","r|.*|"] use_devicesfile=0 }}']
        sh("pvcreate", "-y", "--metadatacopies", 2, *only, device)
        sh("vgcreate", "-y", *only, f"lab{os.getpid()}", device)
    captured = capture(store, str(disk), "lab", "1")
    assert captured.warnings == []
    target = deployed(store, captured, blank(tmp_path / "pc.raw", 30))
    with partition(disk, 1) as one, partition(target, 1) as other:
        for area in (1, 2):
            wanted = sh("pvck", "--dump", "metadata", "--settings", f"mda_num={area}", one)
            assert b"seqno" in wanted
            assert sh("pvck", "--dump", "metadata", "--settings", f"mda_num={area}", other) == wanted
