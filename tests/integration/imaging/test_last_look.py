# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A deployed disk is what other software takes it for: blkid, wipefs, sfdisk, sgdisk, and the tools of its filesystems."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.disk.signatures import Signature, signatures
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging import deploy as deploying
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index, decode
from ansible_collections.reimage.lab.plugins.module_utils.imaging.last_look import look, refuse_bad_table
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import Layout, plan
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each

from ..module import run
from .conftest import MIB, blank, contents, deploy, partition, sh
from .test_layouts import LINUX, SWAP

Image = tuple[PathStore, Index]
START, SIZE = MIB, 20 * MIB
BTRFS, LUKS_COPY, IMSM = b"_BHRfS_M", b"SKUL\xba\xbe", b"Intel Raid ISM Cfg Sig. 1.3.00"
ZFS_END = struct.pack("<Q", 0x0210DA7AB10C7A11)


def md(at: int) -> bytes:
    """Return the superblock of a member of a RAID that begins I(at) bytes into its device, as version 1 of the format has it."""
    return struct.pack("<II", 0xA92B4EFC, 1).ljust(144, b"\0") + struct.pack("<Q", at // 512)


def md_old() -> bytes:
    """Return the beginning of one in version 0.90."""
    return struct.pack("<IIII", 0xA92B4EFC, 0, 90, 0)


def luks_copy(at: int) -> bytes:
    """Return a second header of LUKS2."""
    return (LUKS_COPY + struct.pack(">H", 2)).ljust(256, b"\0") + struct.pack(">Q", at)


def zfs(count: int = 128) -> bytes:
    """Return the end of a label of ZFS: its mark, and the ring of uberblocks."""
    uberblocks = (struct.pack("<QQQ", 0xBAB10C, 5000, number).ljust(1024, b"\0") for number in range(count))
    return ZFS_END + bytes(32) + b"".join(uberblocks)


def put(disk: Path, at: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(at)
        file.write(data)


def at(disk: Path, offset: int, length: int) -> bytes:
    with disk.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def wipefs(path: object) -> list[str]:
    """Return what wipefs lists, without what is part of a table."""
    said = sh("wipefs", "--noheadings", "--output", "TYPE", path).decode().split()
    return sorted(set(said) - {"gpt", "PMBR", "dos"})


def take(disk: Path, tmp_path: Path) -> Image:
    store = PathStore(tmp_path)
    return store, capture(store, str(disk), disk.stem, "1").index


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk of 40 MiB with an ext4 of 20."""
    disk = blank(tmp_path_factory.mktemp("last_look") / "small.raw", 40)
    sh("sfdisk", "--quiet", disk, data=f"label: gpt\nstart=2048, size=20MiB, type={LINUX}".encode())
    with partition(disk, 1) as device:
        sh("mkfs.ext4", "-q", "-L", "root", device)
    return disk


@pytest.fixture(scope="module")
def image(master: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return take(master, tmp_path_factory.mktemp("store"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return blank(tmp_path / "target.raw", 40)


def blkid(disk: Path) -> dict[str, str]:
    with partition(disk, 1) as device:
        said = sh("blkid", "--probe", "--output", "export", device).decode().split()
    return dict(item.split("=") for item in said)


def test_member_of_a_raid_that_is_no_more_is_what_the_image_is(master: Path, image: Image, target: Path) -> None:
    """The superblock of a RAID lies near the end of a partition, where a filesystem has nothing."""
    superblock = START + SIZE - 8192
    put(target, START, contents(SIZE, "an earlier life"))
    put(target, superblock, md(SIZE - 8192))
    rest = at(target, superblock - MIB, MIB // 2)
    assert deploy(*image, str(target)).leftovers == [(1, superblock, "linux_raid_member")]
    wanted, found = blkid(master), blkid(target)
    assert (found["TYPE"], found["UUID"], found["LABEL"]) == ("ext4", wanted["UUID"], "root")
    assert at(target, superblock - MIB, MIB // 2) == rest, "other free space is left alone"
    before = target.read_bytes()
    again = deploy(*image, str(target))
    assert (again.changed, again.bytes_written, target.read_bytes()) == (False, 0, before)


def test_signature_that_came_later_is_found_by_a_comparison_and_removed(image: Image, target: Path) -> None:
    deploy(*image, str(target))
    sound = target.read_bytes()
    put(target, START + SIZE - 8192, md(SIZE - 8192))
    before = target.read_bytes()
    found = deploy(*image, str(target), dry_run=True)
    assert (found.changed, found.differing, found.table_differs) == (True, [], False)
    assert found.leftovers == [(1, START + SIZE - 8192, "linux_raid_member")]
    assert target.read_bytes() == before
    mended = deploy(*image, str(target))
    assert (mended.changed, mended.chunks_changed) == (True, 0)
    assert target.read_bytes() == sound
    assert not deploy(*image, str(target)).changed


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_all_that_others_look_for_is_gone_from_partitions_gaps_and_ends(tmp_path: Path, label: str) -> None:
    """Swap uses 4 KiB, so its partition has room for what any filesystem leaves."""
    master = blank(tmp_path / f"{label}.raw", 120)
    kind = SWAP if label == "gpt" else "82"
    size, gap = 80 * MIB, 10 * MIB
    second = START + size + gap
    end = 120 * MIB if label == "dos" else 118 * MIB
    lines = [f"start={START // 512}, size={size // 512}", f"start={second // 512}, size={(end - second) // 512}"]
    sh("sfdisk", "--quiet", master, data="\n".join([f"label: {label}", *(f"{line}, type={kind}" for line in lines)]).encode())
    for number in (1, 2):
        with partition(master, number) as device:
            sh("mkswap", "-q", device)
    image = take(master, tmp_path)
    target = blank(tmp_path / "target.raw", 120)
    left = {
        START + 0x10000 + 64: BTRFS,
        START + (64 << 20) + 64: BTRFS,
        START + 0x20000 - 40: zfs(),
        START + 0x60000 - 40: zfs(3),
        START + 0x100000: luks_copy(0x100000),
        START + 0x400000: luks_copy(0x400000),
        START + size // 65536 * 65536 - 65536: md_old(),
        START + size - 0x20000 - 40 - 0x40000: zfs(),
        START + 4096: md(4096),
        START + size: md(0),  # the gap
        START + size + 0x10040: BTRFS,
        START + size + gap - 8192: md(gap - 8192),
        second + 4096: struct.pack("<QQQ", 1, 8, 0) + bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"),  # bcache
        120 * MIB - 1024: IMSM,
        120 * MIB - 8192: md(120 * MIB - 8192),
    }
    sh("sgdisk", "--new=1:0:0", target)  # an MBR leaves its second header at the end
    for offset, data in left.items():
        put(target, offset, data)
    with partition(master, 1) as device:
        assert wipefs(device) == ["swap"]
    result = deploy(*image, str(target))
    names = {"linux_raid_member", "zfs_member", "crypto_LUKS", "btrfs", "bcache"}
    assert names <= {one.name for one in result.leftovers}
    assert {0, 1, 2} == {one.partition for one in result.leftovers}
    for number in (1, 2):
        with partition(target, number) as device:
            assert wipefs(device) == ["swap"]
            assert b'TYPE="swap"' in sh("blkid", "--probe", device)
    assert wipefs(target) == []
    assert (at(target, 120 * MIB - 512, 8) == b"EFI PART") == (label == "gpt")
    for offset, data in left.items():
        assert at(target, offset, 4) != data[:4], hex(offset)
    assert not deploy(*image, str(target)).changed


def test_free_space_of_a_filesystem_that_grew_is_looked_at_as_it_is_now(image: Image, tmp_path: Path) -> None:
    larger = blank(tmp_path / "larger.raw", 80)
    put(larger, 0, contents(MIB, "") * 80)
    grown = deploy(*image, str(larger))
    size = int(json.loads(sh("sfdisk", "--json", larger))["partitiontable"]["partitions"][0]["size"]) * 512
    assert (grown.resized, size > SIZE) == ([1], True)
    for superblock in (SIZE - 8192, size - 8192):
        put(larger, START + superblock, md(superblock))
    assert deploy(*image, str(larger), dry_run=True).leftovers == [(1, START + size - 8192, "linux_raid_member")]
    assert deploy(*image, str(larger)).changed
    found = blkid(larger)
    assert found["TYPE"] == "ext4"
    with partition(larger, 1) as device:
        sh("e2fsck", "-fn", device)
    assert not deploy(*image, str(larger)).changed


def test_regions_that_are_looked_at_side_by_side_do_not_mix(target: Path) -> None:
    """libblkid seeks in the file that it is given."""
    put(target, MIB + 8 * MIB - 8192, md(8 * MIB - 8192))
    wrong: list[Signature] = []

    def one(start: int) -> None:
        found = signatures(device, start, 8 * MIB)
        if found != ([(MIB + 8 * MIB - 8192, "linux_raid_member")] if start == MIB else []):
            wrong.extend(found)

    with Device(str(target)) as device:
        each([MIB, 9 * MIB, 17 * MIB, 25 * MIB] * 50, one, 4)
    assert wrong == []


def test_what_is_preserved_keeps_its_signatures(image: Image, tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk.raw", 80)
    sh("sfdisk", "--quiet", disk, data=f"label: gpt\nstart=60MiB, size=10MiB, type={LINUX}, name=DATA".encode())
    for superblock in (4096, 10 * MIB - 8192):
        put(disk, 60 * MIB + superblock, md(superblock))
    kept = at(disk, 60 * MIB, 10 * MIB)
    deploy(*image, str(disk), preserve=["DATA"], grow="none")
    assert at(disk, 60 * MIB, 10 * MIB) == kept


def test_modules_say_what_other_software_finds(image: Image, target: Path, tmp_path: Path) -> None:
    sh("cp", "-a", image[0].root, tmp_path / "store")
    wanted = {"store": str(tmp_path / "store"), "name": "small", "disk": str(target)}
    deploy(*image, str(target))
    where = START + SIZE - 8192
    put(target, where, md(SIZE - 8192))
    signature = {"partition": 1, "offset": where, "name": "linux_raid_member"}
    found = run("image_verify", **wanted)
    assert (found["intact"], found["differing"], found["signatures"], found["complaints"]) == (False, [], [signature], [])
    for check in (True, False):
        mended = run("image_deploy", check=check, **wanted)
        assert (mended["changed"], mended["signatures_removed"]) == (True, [signature])
    # Nothing differs from an image that says something else of itself than its bytes do.
    description = tmp_path / "store/images/small/1/index.json"
    description.write_text(description.read_text().replace('"root"', '"tree"'))
    found = run("image_verify", **wanted)
    assert (found["intact"], found["differing"], found["signatures"]) == (False, [], [])
    assert found["complaints"] == [f"{target}: partition 1 has the LABEL 'root' for blkid, and 'tree' on the master"]


class TestRefusals:
    @pytest.mark.parametrize("field", ["filesystem", "label", "filesystem_uuid"])
    def test_disk_that_blkid_takes_for_something_else_gets_no_partition_table(
        self, image: Image, target: Path, field: str
    ) -> None:
        """The bytes are those of the image, so nothing else can find that out."""
        store, index = image
        deploy(store, index, str(target))
        other = replace(index, partitions=[replace(index.partitions[0], **{field: "xfs"})])
        before = target.read_bytes()
        found = deploy(store, other, str(target), dry_run=True)
        assert (found.differing, len(found.complaints)) == ([], 1)
        with pytest.raises(ReimageError, match=r"partition 1 has the .* for blkid, and 'xfs' on the master"):
            deploy(store, other, str(target))
        assert target.read_bytes() == before, "a disk that works is left as it is"
        empty = blank(target.with_name("empty.raw"), 40)
        with pytest.raises(ReimageError, match="no partition table now"):
            deploy(store, other, str(empty))
        assert at(empty, 0, 34 * 512) == bytes(34 * 512)

    def test_filesystem_that_its_own_tool_does_not_accept(self, image: Image, target: Path) -> None:
        deploy(*image, str(target))
        with Device(str(target)) as device:
            places = plan(image[1], device).places
            assert look(device, places, {1}) == []
            put(target, START + 1024 + 0x3A, b"\2\0")  # the state: errors were found; the checksum is wrong too
            assert look(device, places) == []
            assert len(look(device, places, {1})) == 1

    def test_table_that_sgdisk_does_not_accept_is_refused_before_anything_is_written(
        self, image: Image, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(index: Index, device: Device, *options: Any) -> Layout:
            layout = plan(index, device, *options)
            head = bytearray(layout.table[0][1])
            head[1024 + 40] ^= 1  # where the partition ends
            return replace(layout, table=[(0, bytes(head)), layout.table[1]])

        monkeypatch.setattr(deploying, "plan", broken)
        for dry_run in (True, False):
            with pytest.raises(ReimageError, match=r"small/1 cannot be deployed .*: Problem: The CRC"):
                deploy(*image, str(target), dry_run=dry_run)
        assert target.read_bytes() == bytes(40 * MIB)

    def test_table_that_sfdisk_does_not_accept(self, tmp_path: Path, target: Path) -> None:
        master = blank(tmp_path / "mbr.raw", 40)
        lines = ["label: dos", "1 : size=4MiB, type=82", "2 : type=5", "5 : size=4MiB, type=82", "6 : size=4MiB, type=82"]
        sh("sfdisk", "--quiet", master, data="\n".join(lines).encode())
        index = take(master, tmp_path)[1]
        with Device(str(target)) as device:
            layout = plan(index, device)
            refuse_bad_table(index, layout, device)
            head = bytearray(layout.table[0][1])
            struct.pack_into("<I", head, 446 + 16 + 12, 4096)  # the extended partition is cut
            with pytest.raises(ReimageError, match="not entirely in partition 2"):
                refuse_bad_table(index, replace(layout, table=[(0, bytes(head)), *layout.table[1:]]), device)

    def test_oddity_of_the_masters_table_is_none_of_the_copy(self, tmp_path: Path, target: Path) -> None:
        master = blank(tmp_path / "odd.raw", 40)
        sh("sfdisk", "--quiet", master, data=b"label: gpt\nstart=2048, size=8192")
        put(master, 446, b"\x80")  # sgdisk warns of a protective partition that is active
        assert b"Warning" in sh("sgdisk", "--verify", master)
        store, index = take(master, tmp_path)
        assert deploy(store, index, str(target)).changed


def test_index_of_an_older_version_has_no_uuid_and_is_deployed(image: Image, target: Path) -> None:
    store, index = image
    value = json.loads(index.encode())
    assert value["partitions"][0].pop("filesystem_uuid")
    older = decode(json.dumps(value).encode(), "index.json")
    assert older.partitions[0].filesystem_uuid == ""
    assert deploy(store, older, str(target)).changed
    assert not deploy(store, index, str(target)).changed


def test_master_with_signatures_of_two_filesystems_is_captured_whole_with_a_warning(
    master: Path, target: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "two.raw"
    disk.write_bytes(master.read_bytes())
    put(disk, START + 0x10000 + 64, BTRFS)
    store = PathStore(tmp_path)
    captured = capture(store, str(disk), "two", "1")
    assert len(captured.warnings) == 1
    assert "partition 1 is captured whole: for blkid it may be btrfs or ext4; remove" in captured.warnings[0]
    deploy(store, captured.index, str(target))
    with partition(disk, 1) as one, partition(target, 1) as other:
        sh("cmp", one, other)
    assert not deploy(store, captured.index, str(target)).changed
