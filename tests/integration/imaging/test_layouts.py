# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images on disks of another size than the master's, and on disks that hold something to keep."""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging import overlay
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from .conftest import MIB, blank, contents, deploy, fill, mounted, partition, sh, tree

DATA, RECOVERY = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC"
LINUX, SWAP = "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
MAKE = {
    "ntfs": ["mkfs.ntfs", "-F", "-q"],
    "ext4": ["mkfs.ext4", "-q"],
    "xfs": ["mkfs.xfs", "-q"],
    "btrfs": ["mkfs.btrfs", "-q"],
    "swap": ["mkswap", "-q"],
}
MOUNT = {"ntfs": "ntfs-3g"}
# Kind, label, size in MiB, type of the partition.
Part = tuple[str, str, int, str]


def make(disk: Path, mib: int, parts: list[Part], label: str = "gpt") -> Path:
    """Make a disk with partitions of these kinds, with files in them."""
    blank(disk, mib)
    logical = [*(part[0] for part in parts), "extended"].index("extended")
    numbers = [number + 1 if number <= logical else number + 4 - logical for number in range(len(parts))]
    lines = [f"label: {label}", *(f"{n} : size={size}MiB, type={kind}" for n, (_fs, _label, size, kind) in zip(numbers, parts))]
    sh("sfdisk", "--quiet", disk, data="\n".join(lines).encode())
    for number, (kind, name, _size, _type) in zip(numbers, parts):
        if kind == "extended":
            continue
        with partition(disk, number) as device:
            sh(*MAKE[kind], "-L", name, device)
            if kind != "swap":
                with mounted(device, disk.with_suffix(".mnt"), MOUNT.get(kind, kind)) as folder:
                    fill(folder, f"{disk.name}{name}")
    return disk


def placed(disk: Path, mib: int, spans: list[tuple[int, int, str]], label: str = "gpt") -> Path:
    """Make a disk with empty partitions of these types: where each begins, and its size, in MiB."""
    blank(disk, mib)
    lines = [f"label: {label}", *(f"start={start}MiB, size={size}MiB, type={kind}" for start, size, kind in spans)]
    sh("sfdisk", "--quiet", disk, data="\n".join(lines).encode())
    for number, (_start, size, _kind) in enumerate(spans, 1):
        if size >= 20:
            with partition(disk, number) as device:
                sh("mkfs.ext4", "-q", device)
    return disk


def table(disk: Path) -> list[dict[str, Any]]:
    said = sh("sfdisk", "--json", disk)
    found = json.loads(said[said.index(b"{") :])["partitiontable"]["partitions"]
    return [{**item, "number": int(item["node"][len(str(disk)) :])} for item in found]


def spots(disk: Path) -> list[tuple[int, int, int]]:
    return [(item["number"], item["start"], item["size"]) for item in table(disk)]


def sizes(disk: Path) -> list[int]:
    return [item["size"] * 512 // MIB for item in table(disk)]


def files(disk: Path, number: int, kind: str) -> dict[str, str]:
    with partition(disk, number) as device, mounted(device, disk.with_suffix(".mnt"), MOUNT.get(kind, kind), "ro") as folder:
        return tree(folder)


def room(disk: Path, number: int, kind: str) -> int:
    """Return the size of a filesystem in bytes, as it says itself."""
    with partition(disk, number) as device, mounted(device, disk.with_suffix(".mnt"), MOUNT.get(kind, kind), "ro") as folder:
        return int(sh("stat", "-f", "-c", "%b", folder)) * int(sh("stat", "-f", "-c", "%S", folder))


def check(disk: Path, number: int, kind: str) -> bytes:
    commands = {
        "ext4": ["e2fsck", "-fn"],
        "ntfs": ["ntfsinfo", "-m"],
        "xfs": ["xfs_repair", "-n"],
        "btrfs": ["btrfs", "check", "-q"],
    }
    with partition(disk, number) as device:
        return sh(*commands[kind], device)


Take = Callable[[Path], tuple[PathStore, Index]]


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Capture a disk."""

    def capture_it(disk: Path) -> tuple[PathStore, Index]:
        store = PathStore(tmp_path)
        return store, capture(store, str(disk), disk.stem, "1").index

    return capture_it


@pytest.mark.parametrize("kind", ["ext4", "ntfs", "xfs", "btrfs"])
def test_last_big_partition_grows_and_stays_known(tmp_path: Path, take: Take, kind: str) -> None:
    size = 320 if kind in ("xfs", "btrfs") else 64
    master = make(tmp_path / "m.raw", size + 22, [("ext4", "boot", 20, LINUX), (kind, "root", size, LINUX)])
    store, index = take(master)
    larger = blank(tmp_path / "larger.raw", size + 72)
    result = deploy(store, index, str(larger))
    assert (result.changed, result.resized) == (True, [2])
    assert sizes(larger) == [20, size + 50]
    check(larger, 2, kind)
    assert files(larger, 2, kind) == files(master, 2, kind)
    assert room(larger, 2, kind) > room(master, 2, kind) + 40 * MIB
    again = deploy(store, index, str(larger))
    assert (again.changed, again.bytes_fetched, again.bytes_written) == (False, 0, 0)
    assert not deploy(store, index, str(larger), dry_run=True).changed


def test_change_in_a_grown_partition_is_mended(tmp_path: Path, take: Take) -> None:
    store, index = take(make(tmp_path / "m.raw", 72, [("ext4", "root", 64, LINUX)]))
    larger = blank(tmp_path / "larger.raw", 120)
    full = deploy(store, index, str(larger))
    wanted = files(larger, 1, "ext4")
    with partition(larger, 1) as device, mounted(device, tmp_path / "mnt", "ext4") as folder:
        (folder / "file-1").write_bytes(b"something else")
    assert deploy(store, index, str(larger), dry_run=True).changed
    mended = deploy(store, index, str(larger))
    assert mended.changed
    assert mended.bytes_fetched < full.bytes_fetched
    assert files(larger, 1, "ext4") == wanted
    check(larger, 1, "ext4")
    assert not deploy(store, index, str(larger)).changed


def test_recovery_partition_behind_moves_to_the_end_with_its_identity(tmp_path: Path, take: Take) -> None:
    parts: list[Part] = [("ntfs", "Windows", 64, DATA), ("ntfs", "WinRE", 16, RECOVERY)]
    master = make(tmp_path / "m.raw", 84, parts)
    sh("sfdisk", "--part-attrs", master, "2", "RequiredPartition,GUID:63")
    store, index = take(master)
    larger = blank(tmp_path / "larger.raw", 150)
    assert deploy(store, index, str(larger)).resized == [1]
    assert sizes(larger) == [64 + 66, 16]
    assert [(item["uuid"], item["type"], item.get("attrs")) for item in table(larger)] == [
        (item["uuid"], item["type"], item.get("attrs")) for item in table(master)
    ]
    assert b"No problems found" in sh("sgdisk", "--verify", larger)
    for number in (1, 2):
        check(larger, number, "ntfs")
        assert files(larger, number, "ntfs") == files(master, number, "ntfs")


def test_partition_to_grow_can_be_chosen_or_none(tmp_path: Path, take: Take) -> None:
    store, index = take(make(tmp_path / "m.raw", 84, [("ext4", "root", 40, LINUX), ("ext4", "home", 40, LINUX)]))
    disk = blank(tmp_path / "a.raw", 100)
    deploy(store, index, str(disk), grow="root")
    assert sizes(disk) == [56, 40]
    disk = blank(tmp_path / "b.raw", 100)
    deploy(store, index, str(disk), grow="none")
    assert sizes(disk) == [40, 40]
    with pytest.raises(ReimageError, match=r"'swap'.*1 \(root\), 2 \(home\)"):
        deploy(store, index, str(blank(tmp_path / "c.raw", 100)), grow="swap")


@pytest.mark.parametrize("kind", ["lvm", "luks"])
def test_nothing_grows_in_the_stead_of_what_cannot(tmp_path: Path, take: Take, kind: str) -> None:
    """/boot is no place for the room that LVM or LUKS have no use for."""
    master = placed(tmp_path / "m.raw", 140, [(1, 20, LINUX), (21, 90, LINUX), (111, 28, SWAP)])
    with partition(master, 2) as device:
        if kind == "lvm":
            sh("wipefs", "--all", device)
            sh("pvcreate", "-y", "--config", f'devices {{ filter=["a|{device}|","r|.*|"] use_devicesfile=0 }}', device)
        else:
            sh("cryptsetup", "luksFormat", "-q", "--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", device, "-", data=b"x")
    with partition(master, 3) as device:
        sh("mkswap", "-q", device)
    store, index = take(master)
    larger = blank(tmp_path / "larger.raw", 300)
    result = deploy(store, index, str(larger))
    assert result.resized == []
    assert spots(larger) == spots(master)
    assert len(result.warnings) == 1
    assert re.search(rf"by {160 * MIB} bytes, which stay unused: partition 2 \((LVM2_member|crypto_LUKS)\)", result.warnings[0])
    named = deploy(store, index, str(larger), grow="1")
    assert (named.resized, named.warnings) == ([1], [])
    smaller = blank(tmp_path / "smaller.raw", 120)
    with pytest.raises(ReimageError, match=rf"too small: m/1 needs \d+ bytes, and it has {120 * MIB}"):
        deploy(store, index, str(smaller))
    assert not any(smaller.read_bytes())


def test_swap_is_not_what_grows(tmp_path: Path, take: Take) -> None:
    store, index = take(make(tmp_path / "m.raw", 84, [("ext4", "root", 40, LINUX), ("swap", "swap", 40, LINUX)]))
    disk = blank(tmp_path / "pc.raw", 100)
    deploy(store, index, str(disk))
    assert sizes(disk) == [56, 40]


@pytest.mark.parametrize("kind", ["ext4", "ntfs"])
def test_filesystem_shrinks_on_the_target_if_the_disk_is_smaller(tmp_path: Path, take: Take, kind: str) -> None:
    master = make(tmp_path / "m.raw", 222, [("ext4", "boot", 20, LINUX), (kind, "root", 200, LINUX)])
    before = master.read_bytes()
    store, index = take(master)
    smaller = blank(tmp_path / "smaller.raw", 120)
    result = deploy(store, index, str(smaller))
    assert result.resized == [2]
    assert sizes(smaller) == [20, 98]
    check(smaller, 2, kind)
    assert files(smaller, 2, kind) == files(master, 2, kind)
    assert master.read_bytes() == before
    again = deploy(store, index, str(smaller))
    assert (again.changed, again.bytes_fetched, again.bytes_written) == (False, 0, 0)


def test_partition_behind_the_one_that_shrinks_moves_to_the_end_with_its_identity(tmp_path: Path, take: Take) -> None:
    parts: list[Part] = [("ntfs", "Windows", 160, DATA), ("ntfs", "WinRE", 16, RECOVERY)]
    master = make(tmp_path / "m.raw", 180, parts)
    store, index = take(master)
    smaller = blank(tmp_path / "smaller.raw", 120)
    assert deploy(store, index, str(smaller)).resized == [1]
    assert sizes(smaller) == [160 - 58, 16]
    assert [(item["uuid"], item["type"]) for item in table(smaller)] == [(item["uuid"], item["type"]) for item in table(master)]
    assert b"No problems found" in sh("sgdisk", "--verify", smaller)
    for number in (1, 2):
        check(smaller, number, "ntfs")
        assert files(smaller, number, "ntfs") == files(master, number, "ntfs")
    assert not deploy(store, index, str(smaller)).changed


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_filesystem_that_cannot_shrink_is_refused_on_a_smaller_disk_with_both_sizes(
    tmp_path: Path, take: Take, kind: str
) -> None:
    store, index = take(make(tmp_path / "m.raw", 322, [(kind, "root", 320, LINUX)]))
    smaller = blank(tmp_path / "smaller.raw", 321)
    with pytest.raises(ReimageError, match=rf"too small: m/1 needs {321 * MIB + 33 * 512} bytes, and it has {321 * MIB}"):
        deploy(store, index, str(smaller))
    assert not any(smaller.read_bytes())


def test_too_small_a_disk_is_refused_with_both_sizes_before_anything_is_written(tmp_path: Path, take: Take) -> None:
    store, index = take(make(tmp_path / "m.raw", 212, [("ext4", "root", 200, LINUX)]))
    small = blank(tmp_path / "small.raw", 16)
    with pytest.raises(ReimageError, match=rf"too small: m/1 needs \d+ bytes, and it has {16 * MIB}"):
        deploy(store, index, str(small))
    assert not any(small.read_bytes())


class TestWhatIsMissingIsSaidBeforeAnythingIsWritten:
    """On a smaller disk, where much is needed."""

    @pytest.fixture
    def small(self, tmp_path: Path, take: Take) -> tuple[PathStore, Index, Path]:
        parts: list[Part] = [("ext4", "root", 100, LINUX), ("ntfs", "WinRE", 16, RECOVERY)]
        store, index = take(make(tmp_path / "m.raw", 118, parts))
        return store, index, make(tmp_path / "pc.raw", 80, [("ext4", "old", 70, LINUX)])

    def refused(self, small: tuple[PathStore, Index, Path], said: str) -> None:
        store, index, disk = small
        before = disk.read_bytes()
        with pytest.raises(ReimageError, match=said):
            deploy(store, index, str(disk))
        assert disk.read_bytes() == before

    def test_memory(self, small: tuple[PathStore, Index, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "meminfo").write_text("MemTotal: 8 kB\nMemAvailable: 4 kB\n")
        monkeypatch.setattr(overlay, "_MEMORY", tmp_path / "meminfo")
        self.refused(small, r"partition 1 could shrink to fit, but that takes \d+ bytes of memory, and 3072 are free")

    @pytest.mark.parametrize("program", ["nbdkit", "nbdfuse", "resize2fs"])
    def test_program(self, small: tuple[PathStore, Index, Path], monkeypatch: pytest.MonkeyPatch, program: str) -> None:
        found = shutil.which
        monkeypatch.setattr(shutil, "which", lambda name: None if name == program else found(name))
        self.refused(small, f"{program} is not installed here")

    def test_chunk_table_of_another_partition(self, small: tuple[PathStore, Index, Path]) -> None:
        path = small[0].root / "images/m/1/p2.caibx"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        self.refused(small, r"p2\.caibx")


@pytest.mark.parametrize(("kind", "at"), [("ext4", 2048), ("ntfs", 16384), ("xfs", 512)])
def test_filesystem_that_is_damaged_when_it_has_grown_is_found_out(
    tmp_path: Path, take: Take, monkeypatch: pytest.MonkeyPatch, kind: str, at: int
) -> None:
    size = 320 if kind == "xfs" else 64
    store, index = take(make(tmp_path / "m.raw", size + 2, [(kind, "root", size, LINUX)]))
    larger = blank(tmp_path / "larger.raw", size + 52)
    grow = filesystem(kind).resize

    def resize(device: str, *wanted: Any) -> None:
        grow(device, *wanted)
        with Path(device).open("r+b") as file:
            file.seek(at)
            file.write(bytes(4096))

    with monkeypatch.context() as patch:
        patch.setattr(filesystem(kind), "resize", resize)
        with pytest.raises(ReimageError, match="partition 1 was resized, and its filesystem is damaged"):
            deploy(store, index, str(larger))
    assert not any(larger.read_bytes()[: 34 * 512])
    assert deploy(store, index, str(larger)).changed
    check(larger, 1, kind)


def test_shrunk_filesystem_that_the_disk_does_not_keep_is_found_out(
    tmp_path: Path, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, index = take(make(tmp_path / "m.raw", 102, [("ext4", "root", 100, LINUX)]))
    smaller = blank(tmp_path / "smaller.raw", 80)
    shrink, write = filesystem("ext4").resize, Device.write

    def forget(self: Device, offset: int, data: bytes) -> None:
        write(self, offset, bytes(len(data)))

    def resize(*wanted: Any) -> None:
        shrink(*wanted)
        monkeypatch.setattr(Device, "write", forget)

    monkeypatch.setattr(filesystem("ext4"), "resize", resize)
    with pytest.raises(ReimageError, match=r"partition 1 was resized, and it does not hold what was written to it at byte \d+"):
        deploy(store, index, str(smaller))
    assert not any(smaller.read_bytes()[: 34 * 512])


def test_master_that_was_deployed_itself_is_known_again_on_disks_of_any_size(tmp_path: Path, take: Take) -> None:
    """Its disk has a note of what had grown there, which its image brings along."""
    store, index = take(make(tmp_path / "m.raw", 44, [("ext4", "root", 40, LINUX)]))
    master = blank(tmp_path / "master.raw", 60)
    assert deploy(store, index, str(master)).resized == [1]
    newer = capture(store, str(master), "m", "2").index
    for mib in (80, 60):
        disk = blank(tmp_path / f"pc-{mib}.raw", mib)
        assert deploy(store, newer, str(disk)).changed
        assert not deploy(store, newer, str(disk)).changed


def test_grown_partition_whose_filesystem_was_destroyed_is_written_again(tmp_path: Path, take: Take) -> None:
    """What it holds cannot even be found out."""
    store, index = take(make(tmp_path / "m.raw", 66, [("ext4", "root", 64, LINUX)]))
    larger = blank(tmp_path / "larger.raw", 120)
    deploy(store, index, str(larger))
    wanted = files(larger, 1, "ext4")
    with partition(larger, 1) as device, Path(device).open("r+b") as file:
        file.write(bytes(MIB))
    assert deploy(store, index, str(larger)).resized == [1]
    assert files(larger, 1, "ext4") == wanted


class TestPreserve:
    def test_partition_of_the_image_keeps_what_users_put_there(self, tmp_path: Path, take: Take) -> None:
        store, index = take(make(tmp_path / "m.raw", 84, [("ntfs", "Windows", 40, DATA), ("ntfs", "Data", 40, DATA)]))
        disk = blank(tmp_path / "pc.raw", 84)
        deploy(store, index, str(disk))
        with partition(disk, 2) as device, mounted(device, tmp_path / "mnt", "ntfs-3g") as folder:
            (folder / "thesis.txt").write_text("years of work")
        with partition(disk, 1) as device, mounted(device, tmp_path / "mnt", "ntfs-3g") as folder:
            (folder / "virus.exe").write_text("bad")
        assert deploy(store, index, str(disk), preserve=["Data"]).changed
        assert "thesis.txt" in files(disk, 2, "ntfs")
        assert "virus.exe" not in files(disk, 1, "ntfs")
        assert not deploy(store, index, str(disk), preserve=["Data"]).changed

    @pytest.mark.parametrize("name", ["2", "home", LINUX])
    def test_partition_that_the_image_does_not_have_stays(self, tmp_path: Path, take: Take, name: str) -> None:
        store, index = take(make(tmp_path / "m.raw", 44, [("ntfs", "Windows", 40, DATA)]))
        disk = make(tmp_path / "pc.raw", 120, [("ext4", "old", 60, DATA), ("ext4", "home", 50, LINUX)])
        kept, wanted = files(disk, 2, "ext4"), table(disk)[1]
        result = deploy(store, index, str(disk), preserve=[name])
        assert result.resized == [1]
        assert sizes(disk) == [60, 50]
        assert table(disk)[1] == wanted
        assert files(disk, 2, "ext4") == kept
        assert files(disk, 1, "ntfs")
        assert b"No problems found" in sh("sgdisk", "--verify", disk)

    def test_number_that_the_image_has_for_another_one_is_refused(self, tmp_path: Path, take: Take) -> None:
        """It would get a new number, and the next run would keep what is the image's own."""
        store, index = take(make(tmp_path / "m.raw", 66, [("ntfs", "Windows", 40, DATA), ("ext4", "Recovery", 22, RECOVERY)]))
        disk = make(tmp_path / "pc.raw", 160, [("ext4", "old", 80, DATA), ("ext4", "Thesis", 50, DATA)])
        before = disk.read_bytes()
        with pytest.raises(ReimageError, match=r"preserve 2: m/1 has a partition 2 of its own, so this one becomes 3.*its label"):
            deploy(store, index, str(disk), preserve=["2"])
        assert disk.read_bytes() == before
        kept = files(disk, 2, "ext4")
        for changed in (True, False):
            assert deploy(store, index, str(disk), preserve=["Thesis"]).changed is changed
            assert files(disk, 3, "ext4") == kept

    def test_partition_to_keep_is_found_again_after_an_interruption(
        self, tmp_path: Path, take: Take, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, index = take(make(tmp_path / "m.raw", 44, [("ntfs", "Windows", 40, DATA)]))
        disk = make(tmp_path / "pc.raw", 100, [("ext4", "old", 42, DATA), ("ext4", "home", 50, LINUX)])
        kept = files(disk, 2, "ext4")
        with monkeypatch.context() as patch:
            patch.setattr(PathStore, "chunk", lambda *_unused: b"")
            patch.setattr(
                "ansible_collections.reimage.lab.plugins.module_utils.imaging.deploy._Deploy._write_table",
                lambda *_unused: pytest.fail("the table was written"),
            )
            with pytest.raises(ReimageError):
                deploy(store, index, str(disk), preserve=["home"])
        assert files(disk, 2, "ext4") == kept
        deploy(store, index, str(disk), preserve=["home"])
        assert files(disk, 2, "ext4") == kept

    def test_no_match_and_no_room_are_refused(self, tmp_path: Path, take: Take) -> None:
        store, index = take(make(tmp_path / "m.raw", 64, [("ext4", "root", 60, LINUX)]))
        disk = make(tmp_path / "pc.raw", 100, [("ext4", "old", 20, DATA), ("ext4", "home", 50, LINUX)])
        before = disk.read_bytes()
        with pytest.raises(ReimageError, match=r"preserve 'house': 0 partitions.*2 \(home\)"):
            deploy(store, index, str(disk), preserve=["house"])
        with pytest.raises(ReimageError, match=rf"too small: .* before the partition to preserve, .* byte {21 * MIB}"):
            deploy(store, index, str(disk), preserve=["home"])
        assert disk.read_bytes() == before

    def test_what_the_master_had_before_its_first_partition_ends_before_the_one_to_keep(self, tmp_path: Path, take: Take) -> None:
        master = placed(tmp_path / "m.raw", 120, [(60, 40, LINUX)])
        with master.open("r+b") as file:
            file.seek(3 * MIB)
            file.write(contents(4096, "left by an older system"))
        store, index = take(master)
        disk = make(tmp_path / "pc.raw", 120, [("ext4", "home", 50, LINUX)])
        kept = files(disk, 1, "ext4")
        assert deploy(store, index, str(disk), preserve=["home"]).changed
        found = {item["uuid"]: item for item in table(disk)}
        assert sorted(item["start"] * 512 // MIB for item in found.values()) == [1, 60]
        number = next(item["number"] for item in found.values() if item["start"] == 2048)
        assert files(disk, number, "ext4") == kept
        check(disk, number, "ext4")
        assert b"No problems found" in sh("sgdisk", "--verify", disk)
        assert not deploy(store, index, str(disk), preserve=["home"]).changed

    def test_partition_to_keep_may_begin_before_the_first_sector_that_the_master_used(self, tmp_path: Path, take: Take) -> None:
        store, index = take(placed(tmp_path / "m.raw", 120, [(60, 40, LINUX)]))
        disk = blank(tmp_path / "pc.raw", 120)
        sh("sfdisk", "--quiet", disk, data=f"label: gpt\nfirst-lba: 34\nstart=40, size=2048, type={DATA}\n".encode())
        deploy(store, index, str(disk), preserve=[DATA])
        assert b"No problems found" in sh("sgdisk", "--verify", disk)

    def test_image_behind_the_partition_to_keep_must_fit_too(self, tmp_path: Path, take: Take) -> None:
        store, index = take(placed(tmp_path / "m.raw", 120, [(1, 20, LINUX), (61, 40, LINUX)]))
        disk = placed(tmp_path / "pc.raw", 80, [(1, 20, LINUX), (21, 40, DATA)])
        before = disk.read_bytes()
        with pytest.raises(ReimageError, match=rf"too small: m/1 needs \d+ bytes, and it has {80 * MIB}"):
            deploy(store, index, str(disk), preserve=[DATA], grow="1")
        assert disk.read_bytes() == before

    def test_partition_named_twice_is_kept_once(self, tmp_path: Path, take: Take) -> None:
        store, index = take(make(tmp_path / "m.raw", 44, [("ntfs", "Windows", 40, DATA)]))
        disk = make(tmp_path / "pc.raw", 100, [("ext4", "old", 42, DATA), ("ext4", "home", 50, LINUX)])
        deploy(store, index, str(disk), preserve=["home", "2"])
        assert len(table(disk)) == 2

    def test_two_partitions_to_keep_never_become_one(self, tmp_path: Path, take: Take) -> None:
        """Both have the label of the one that the image has."""
        store, index = take(make(tmp_path / "m.raw", 74, [("ext4", "root", 20, LINUX), ("ext4", "home", 50, LINUX)]))
        disk = make(tmp_path / "pc.raw", 144, [("ext4", "x", 20, DATA), ("ext4", "home", 50, LINUX), ("ext4", "home", 50, LINUX)])
        kept = [files(disk, number, "ext4") for number in (2, 3)]
        deploy(store, index, str(disk), preserve=["2", "3"])
        assert [files(disk, number, "ext4") for number in (2, 3)] == kept


class TestMbr:
    PARTS = (
        ("ntfs", "System", 20, "7"),
        ("extended", "", 120, "f"),
        ("ext4", "one", 40, "83"),
        ("swap", "swap", 16, "82"),
        ("ext4", "two", 40, "83"),
    )

    def disk(self, path: Path) -> Path:
        disk = make(path, 160, list(self.PARTS), "dos")
        with disk.open("r+b") as file:
            file.write(contents(440, "boot code"))
            file.seek(512 * 40)
            file.write(contents(100_000, "grub"))
        return disk

    def test_logical_partitions_boot_code_and_gap_survive(self, tmp_path: Path, take: Take) -> None:
        master = self.disk(tmp_path / "m.raw")
        store, index = take(master)
        disk = blank(tmp_path / "pc.raw", 160)
        deploy(store, index, str(disk))
        same = [line.replace(str(master), str(disk)) for line in sh("sfdisk", "--dump", master).decode().splitlines()]
        assert sh("sfdisk", "--dump", disk).decode().splitlines() == same
        assert disk.read_bytes()[:MIB] == master.read_bytes()[:MIB]
        for number in (5, 7):
            assert files(disk, number, "ext4") == files(master, number, "ext4")
        with partition(master, 6) as one, partition(disk, 6) as other:
            same = [sh("blkid", "-p", "-o", "export", device).splitlines()[1:] for device in (one, other)]
        assert same[0] == same[1]
        assert not deploy(store, index, str(disk)).changed

    def test_chain_that_begins_with_a_deleted_partition_is_understood(self, tmp_path: Path, take: Take) -> None:
        master = blank(tmp_path / "m.raw", 100)
        spans = "start=2048, size=40960, type=83\nstart=43008, size=150000, type=5\n"
        spans += "start=61440, size=40960, type=83\nstart=106496, size=40960, type=83\n"
        sh("sfdisk", "--quiet", master, data=f"label: dos\n{spans}".encode())
        # As a deleted partition leaves it: the first link holds none, and the next one is right before partition 5.
        entry = struct.Struct("<B3xB3xII")
        first, second = 43008 * 512, 61400 * 512
        data = bytearray(master.read_bytes())
        data[second : second + 512] = data[first : first + 512]
        entry.pack_into(data, second + 446, 0, 0x83, 61440 - 61400, 40960)
        entry.pack_into(data, first + 446, 0, 0, 0, 0)
        entry.pack_into(data, first + 462, 0, 5, 61400 - 43008, 61440 - 61400 + 40960)
        master.write_bytes(data)
        for number in (1, 5, 6):
            with partition(master, number) as device:
                sh("mkfs.ext4", "-q", "-L", f"p{number}", device)
        store, index = take(master)
        same = blank(tmp_path / "same.raw", 100)
        deploy(store, index, str(same))
        assert spots(same) == spots(master)
        larger = blank(tmp_path / "larger.raw", 130)
        assert deploy(store, index, str(larger), grow="p1").resized == [1]
        assert [number for number, _start, _size in spots(larger)] == [1, 2, 5, 6]
        assert b"No errors detected" in sh("sfdisk", "--verify", larger)
        for number in (1, 5, 6):
            check(larger, number, "ext4")
        assert not deploy(store, index, str(larger), grow="p1").changed

    def test_primary_partition_to_keep_stays(self, tmp_path: Path, take: Take) -> None:
        store, index = take(make(tmp_path / "m.raw", 44, [("ntfs", "Windows", 40, "7")], "dos"))
        disk = make(tmp_path / "pc.raw", 120, [("ext4", "old", 60, "83"), ("ext4", "home", 50, "83")], "dos")
        kept, wanted = files(disk, 2, "ext4"), table(disk)[1]
        assert deploy(store, index, str(disk), preserve=["home"]).resized == [1]
        assert sizes(disk) == [60, 50]
        assert table(disk)[1] == wanted
        assert files(disk, 2, "ext4") == kept
        assert not deploy(store, index, str(disk), preserve=["home"]).changed

    def test_logical_partition_that_the_image_has_at_its_place_stays(self, tmp_path: Path, take: Take) -> None:
        store, index = take(self.disk(tmp_path / "m.raw"))
        disk = blank(tmp_path / "pc.raw", 160)
        deploy(store, index, str(disk))
        with partition(disk, 7) as device, mounted(device, tmp_path / "mnt", "ext4") as folder:
            (folder / "thesis.txt").write_text("years of work")
        with partition(disk, 5) as device, mounted(device, tmp_path / "mnt", "ext4") as folder:
            (folder / "file-1").unlink()
        assert deploy(store, index, str(disk), preserve=["two"]).changed
        # What grows before it leaves its own sector of the chain alone.
        assert b"No errors detected" in sh("sfdisk", "--verify", disk)
        assert "thesis.txt" in files(disk, 7, "ext4")
        assert "file-1" in files(disk, 5, "ext4")
        assert not deploy(store, index, str(disk), preserve=["two"]).changed

    def test_what_cannot_be_kept_is_refused_before_anything_is_written(self, tmp_path: Path, take: Take) -> None:
        master = self.disk(tmp_path / "m.raw")
        store, index = take(master)
        first = next(item["start"] for item in table(master) if item["number"] == 5)
        disk = blank(tmp_path / "pc.raw", 300)
        for script, kept, said in (
            # One in the middle of the extended partition, where nothing else is; one at a logical partition's place.
            (f"start={140 * 2048 - 4096}, size=2048, type=83", "83", "extended partition"),
            (f"start={first}, size=2048, type=83", "83", "has its"),
            (f"start={150 * 2048}, size=40960, type=f\nstart={151 * 2048}, size=2048, type=83", "5", "logical partition"),
        ):
            sh("sfdisk", "--quiet", "--wipe=always", disk, data=f"label: dos\n{script}\n".encode())
            before = disk.read_bytes()
            with pytest.raises(ReimageError, match=said):
                deploy(store, index, str(disk), preserve=[kept], grow="none")
            assert disk.read_bytes() == before

    def test_partition_at_the_end_of_the_disk_is_whole_after_an_interruption(
        self, tmp_path: Path, take: Take, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was compared is not changed by the invalidation of the disk that follows."""
        master = placed(tmp_path / "m.raw", 80, [(1, 40, "83"), (41, 39, "83")], "dos")
        with partition(master, 1) as device:
            sh("mkfs.ext4", "-q", device)
        with partition(master, 2) as device:
            Path(device).write_bytes(contents(39 * MIB, "up to the last byte"))
        store, index = take(master)
        larger = blank(tmp_path / "larger.raw", 90)
        with monkeypatch.context() as patch:
            patch.setattr(filesystem("ext4"), "resize", lambda *_unused: pytest.fail("the power is gone"))
            with pytest.raises(pytest.fail.Exception):
                deploy(store, index, str(larger), grow="1")
        assert deploy(store, index, str(larger), grow="1").resized == [1]
        with partition(master, 2) as one, partition(larger, 2) as other:
            sh("cmp", one, other)

    def test_last_logical_partition_grows_with_the_extended_one(self, tmp_path: Path, take: Take) -> None:
        master = self.disk(tmp_path / "m.raw")
        store, index = take(master)
        disk = blank(tmp_path / "pc.raw", 260)
        assert deploy(store, index, str(disk)).resized == [7]
        found = {item["number"]: item for item in table(disk)}
        assert found[7]["size"] * 512 > 130 * MIB
        assert found[7]["start"] + found[7]["size"] == found[2]["start"] + found[2]["size"]
        assert b"No errors detected" in sh("sfdisk", "--verify", disk)
        check(disk, 7, "ext4")
        assert files(disk, 5, "ext4") == files(master, 5, "ext4")
        assert not deploy(store, index, str(disk)).changed
