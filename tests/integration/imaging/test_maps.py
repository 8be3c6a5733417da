# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of its bytes a filesystem uses: only those go onto a disk full of rubbish, and its own tools find every file there.

docs/filesystems.md names the variants.
"""

from __future__ import annotations

import random
import re
import struct
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.command import background, wait_until
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import kept_by_partclone
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.survey import Survey
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.transfer import export_image, import_image
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from .conftest import MIB, blank, contents, deploy, mounted, partition, sh, tree

RUBBISH = random.Random(1).randbytes(MIB)


def rubbish(path: Path, mib: int) -> Path:
    """Make a disk full of what must not be read."""
    with path.open("wb") as file:
        for _mib in range(mib):
            file.write(RUBBISH)
    return path


def used(device: Path | str, kind: str) -> Extents:
    """Return the used bytes of a filesystem, which must be of a variant that is known."""
    survey = Survey()
    found = survey.used(str(device), "it", kind)
    assert survey.warnings == []
    return found


def copied(source: Path, kind: str) -> Path:
    """Return a copy of a filesystem with rubbish in all that it does not use, which must be a good part of it."""
    extents, size = used(source, kind), source.stat().st_size
    assert extents.total < size * 3 // 4
    target = rubbish(source.with_suffix(".copy"), size // MIB)
    with source.open("rb") as read, target.open("r+b") as write:
        for offset, length in extents.pairs:
            read.seek(offset)
            write.seek(offset)
            write.write(read.read(length))
    return target


@contextmanager
def opened(image: Path, kind: str, options: str = "rw") -> Iterator[Path]:
    """Mount a filesystem that is a file."""
    loop = sh("losetup", "--find", "--show", "--sector-size", 512, image).decode().strip()
    try:
        with mounted(loop, image.with_suffix(".mnt"), kind, options) as folder:
            yield folder
    finally:
        sh("losetup", "--detach", loop)


def files(folder: Path, count: int = 9, size: int = 300_000) -> list[Path]:
    """Make files to be copied into a filesystem."""
    folder.mkdir()
    for number in range(count):
        (folder / f"file-{number}").write_bytes(contents(size + number * 1237, f"{folder.name}{number}"))
    return sorted(folder.iterdir())


class TestFat:
    """No kernel that runs the tests has FAT: mtools fills and reads it."""

    def fill(self, image: Path | str, source: Path) -> dict[str, str]:
        sh("mcopy", "-i", image, *files(source), "::")
        for name in ("file-1", "file-4"):
            sh("mdel", "-i", image, f"::{name}")
            (source / name).unlink()
        return tree(source)

    def read(self, image: Path | str, folder: Path) -> dict[str, str]:
        folder.mkdir()
        sh("mcopy", "-i", image, "::*", folder)
        sh("fsck.fat", "-n", image)
        return tree(folder)

    @pytest.mark.parametrize(
        ("mib", "options"),
        [
            (8, ["-F12"]),
            (8, ["-F12", "-S4096"]),
            (4, ["-F12", "-f1", "-r1024", "-R8"]),
            (40, ["-F16"]),
            (40, ["-F32", "-s1"]),
        ],
    )
    def test_each_width_of_its_table(self, tmp_path: Path, mib: int, options: list[str]) -> None:
        image = rubbish(tmp_path / "fat", mib)
        sh("mkfs.fat", *options, image)
        wanted = self.fill(image, tmp_path / "source")
        assert self.read(copied(image, "vfat"), tmp_path / "read") == wanted

    def test_image_of_fat12_is_right_on_another_disk(self, tmp_path: Path) -> None:
        master = rubbish(tmp_path / "m.raw", 10)
        sh("sgdisk", "--clear", "--new=1:2048:+8M", master)
        with partition(master, 1) as device:
            sh("mkfs.fat", "-F12", device)
            wanted = self.fill(device, tmp_path / "source")
        store = PathStore(tmp_path)
        index = capture(store, str(master), "m", "1").index
        target = rubbish(tmp_path / "target.raw", 10)
        deploy(store, index, str(target))
        with partition(target, 1) as device:
            assert self.read(device, tmp_path / "read") == wanted

    def test_active_one_of_two_tables_counts(self, tmp_path: Path) -> None:
        """FAT32 can say that its tables are no copies of each other."""
        image = rubbish(tmp_path / "fat", 40)
        sh("mkfs.fat", "-F32", "-s1", image)
        self.fill(image, tmp_path / "source")
        wanted = used(image, "vfat").pairs
        with image.open("r+b") as file:
            boot = file.read(512)
            reserved, length = struct.unpack_from("<H", boot, 14)[0], struct.unpack_from("<I", boot, 36)[0]
            file.seek(reserved * 512)
            file.write(bytes(length * 512))
            file.seek(40)
            file.write(struct.pack("<H", 0x81))
        assert used(image, "vfat").pairs == wanted

    @pytest.mark.parametrize(("options", "at"), [(["-F16"], 3), (["-F32", "-s1"], 7)])
    def test_one_that_windows_did_not_finish_with_is_refused(self, tmp_path: Path, options: list[str], at: int) -> None:
        image = rubbish(tmp_path / "fat", 40)
        sh("mkfs.fat", *options, image)
        with image.open("r+b") as file:
            file.seek(14)
            file.seek(struct.unpack("<H", file.read(2))[0] * 512 + at)
            file.write(b"\x07")
        with pytest.raises(DiskError, match=r"it \(vfat\) was not unmounted cleanly.*chkdsk"):
            used(image, "vfat")

    def test_senseless_one_is_captured_whole_with_a_warning(self, tmp_path: Path) -> None:
        image = rubbish(tmp_path / "fat", 40)
        survey = Survey()
        assert survey.used(str(image), "it", "vfat").pairs == [(0, 40 * MIB)]
        assert survey.warnings == ["it (vfat) is captured whole: its table of clusters does not fit the rest"]


class TestBtrfs:
    """Its own scrub reads every copy of everything."""

    def scrubbed(self, mount: Path) -> dict[str, str]:
        """Return the files of a filesystem that is whole."""
        sh("btrfs", "scrub", "start", "-B", mount)
        assert "no errors found" in sh("btrfs", "scrub", "status", mount).decode()
        return tree(mount)

    def read(self, image: Path) -> dict[str, str]:
        sh("btrfs", "check", image)
        with opened(image, "btrfs") as mount:
            return self.scrubbed(mount)

    @pytest.mark.parametrize(
        ("mib", "options"),
        [
            (128, ["-mdup", "-dsingle"]),  # the default
            (128, ["-msingle", "-n4096"]),
            (256, ["-mdup", "-ddup", "--csum=xxhash", "-n65536"]),
            (128, ["-mraid0", "-draid0"]),
            (256, ["--mixed", "-mdup", "-ddup"]),
            (128, ["-O^skinny-metadata,^no-holes", "-R^free-space-tree"]),
        ],
    )
    def test_each_copy_of_each_profile(self, tmp_path: Path, mib: int, options: list[str]) -> None:
        image = rubbish(tmp_path / "btrfs", mib)
        sh("mkfs.btrfs", "-q", "-K", *options, image)
        with opened(image, "btrfs") as mount:
            sh("btrfs", "subvolume", "create", mount / "sub")
            sh("cp", *files(tmp_path / "source"), mount)
            sh("cp", mount / "file-1", mount / "sub")
            sh("btrfs", "subvolume", "snapshot", mount / "sub", mount / "snapshot")
            sh("rm", mount / "file-4", mount / "sub/file-1")
            wanted = tree(mount)
        assert self.read(copied(image, "btrfs")) == wanted

    def test_what_was_balanced_converted_and_resized(self, tmp_path: Path) -> None:
        """Then addresses are far from places. Thousands of files give its trees more than one level."""
        image = rubbish(tmp_path / "btrfs", 320)
        sh("mkfs.btrfs", "-q", "-K", "-msingle", "-n4096", image)
        with opened(image, "btrfs") as mount:
            sh("cp", *files(tmp_path / "source"), mount)
            for number in range(3000):
                (mount / f"small-{number}").write_bytes(b"x" * (number % 5000))
            sh("btrfs", "balance", "start", "-f", "-mconvert=dup", "-d", mount)
            sh("rm", mount / "file-1")
            sh("btrfs", "filesystem", "resize", "300M", mount)
            wanted = tree(mount)
        assert self.read(copied(image, "btrfs")) == wanted

    def test_all_its_devices_on_one_disk_are_captured_whole_and_one_of_two_is_refused(self, tmp_path: Path) -> None:
        disk = rubbish(tmp_path / "m.raw", 258)
        sh("sfdisk", "--quiet", disk, data=b"label: gpt\nsize=128MiB\nsize=128MiB\n")
        with partition(disk, 1) as one, partition(disk, 2) as two:
            sh("mkfs.btrfs", "-q", "-K", "-mraid1", "-draid0", one, two)
            with mounted(one, tmp_path / "mnt", "btrfs", f"device={two}") as mount:
                sh("cp", *files(tmp_path / "source"), mount)
                wanted = tree(mount)
            sh("btrfs", "device", "scan", "--forget")
        store = PathStore(tmp_path)
        captured = capture(store, str(disk), "m", "1", level=1)
        assert [region.extents.total for region in captured.index.partitions] == [128 * MIB, 128 * MIB]
        assert len(captured.warnings) == 2 and "(btrfs) is captured whole: it is one of 2 devices" in captured.warnings[0]
        sh("sfdisk", "--quiet", "--delete", disk, "2")
        said = r"partition 1 \(btrfs\) needs 2 devices to be whole, of which this disk has 1: .*one device"
        with pytest.raises(DiskError, match=said):
            capture(store, str(disk), "half", "1", dry_run=True)
        deploy(store, captured.index, str(rubbish(disk, 290)))
        with partition(disk, 1) as one, partition(disk, 2) as two:
            with mounted(one, tmp_path / "mnt", "btrfs", f"device={two}") as mount:
                assert self.scrubbed(mount) == wanted
            sh("btrfs", "device", "scan", "--forget")

    def test_device_that_is_not_number_1_grows(self, tmp_path: Path) -> None:
        one, two = blank(tmp_path / "one", 128), blank(tmp_path / "two", 256)
        sh("mkfs.btrfs", "-q", "-msingle", "-dsingle", one, two)
        loop = sh("losetup", "--find", "--show", "--sector-size", 512, two).decode().strip()
        try:
            with opened(one, "btrfs", f"device={loop}") as mount:
                sh("btrfs", "device", "remove", "1", mount)
            two.open("r+b").truncate(300 * MIB)
            sh("losetup", "--set-capacity", loop)
            filesystem("btrfs").resize(loop, 300 * MIB)
            assert filesystem("btrfs").length(loop) == 300 * MIB
            sh("btrfs", "check", loop)
        finally:
            sh("losetup", "--detach", loop)

    def test_map_comes_from_the_copy_that_is_whole(self, tmp_path: Path) -> None:
        image = rubbish(tmp_path / "btrfs", 128)
        sh("mkfs.btrfs", "-q", "-K", "-mdup", image)
        wanted = used(image, "btrfs").pairs
        said = sh("btrfs", "inspect-internal", "dump-tree", "-t", "chunk", image).decode()
        places = re.findall(r"METADATA\|DUP.*?stripe 0 devid 1 offset (\d+)", said, re.DOTALL)
        assert places
        with image.open("r+b") as file:
            for place in places:
                file.seek(int(place))
                file.write(bytes(MIB))
        assert used(image, "btrfs").pairs == wanted

    def test_map_that_lost_a_part_is_not_believed(self, tmp_path: Path) -> None:
        image = rubbish(tmp_path / "btrfs", 128)
        sh("mkfs.btrfs", "-q", "-K", "-msingle", image)
        said = sh("btrfs", "inspect-internal", "dump-tree", "-t", "extent", image).decode()
        address = int(re.findall(r"^leaf (\d+)", said, re.MULTILINE)[0])
        place = int(sh("btrfs-map-logical", "-l", address, image).split()[5])
        with image.open("r+b") as file:
            file.seek(place + 96)
            count = struct.unpack("<I", file.read(4))[0]
            file.seek(place + 96)
            file.write(struct.pack("<I", count - 3))
        survey = Survey()
        assert survey.used(str(image), "it", "btrfs").pairs == [(0, 128 * MIB)]
        assert "its trees make no sense" in survey.warnings[0]

    @pytest.mark.parametrize(("at", "value"), [(0xBC, 1 << 13), (0x50, 1 << 50), (0xA0, 0)])
    def test_form_that_is_not_known_is_captured_whole_with_a_warning(self, tmp_path: Path, at: int, value: int) -> None:
        image = rubbish(tmp_path / "btrfs", 128)
        sh("mkfs.btrfs", "-q", "-K", image)
        with image.open("r+b") as file:
            file.seek((64 << 10) + at)
            file.write(struct.pack("<Q", value)[: 4 if at == 0xA0 else 8])
        survey = Survey()
        assert survey.used(str(image), "it", "btrfs").pairs == [(0, 128 * MIB)]
        assert "it (btrfs) is captured whole: " in survey.warnings[0]


class TestExt:
    """mke2fs fills it, debugfs reads it: no kernel that runs the tests has all of its features."""

    def read(self, device: Path | str, folder: Path) -> dict[str, str]:
        folder.mkdir()
        sh("e2fsck", "-fn", device)
        sh("debugfs", "-R", f"rdump / {folder}", device)
        return tree(folder)

    @pytest.mark.parametrize(
        "options",
        [
            ["-text4"],
            ["-text2", "-b1024", "-g1024"],
            ["-text3", "-O^resize_inode", "-Jsize=1"],
            ["-text4", "-Obigalloc", "-C65536"],
            ["-text4", "-b1024", "-O^flex_bg,^sparse_super,^resize_inode"],
            ["-text4", "-Ometa_bg,^resize_inode,^metadata_csum,uninit_bg", "-b2048", "-g512"],
            ["-text4", "-Osparse_super2,inline_data,quota,project,casefold,encrypt,verity,ea_inode,^64bit"],
        ],
    )
    def test_each_of_its_features(self, tmp_path: Path, options: list[str]) -> None:
        image = rubbish(tmp_path / "ext", 24)
        files(tmp_path / "source")
        sh("mke2fs", "-q", "-F", "-E", "nodiscard", "-d", tmp_path / "source", *options, image)
        subprocess.run(
            ["e2fsck", "-fy", image], capture_output=True, check=False
        )  # mke2fs does not count the quotas of the files
        assert self.read(copied(image, "ext4"), tmp_path / "read") == tree(tmp_path / "source")

    def test_one_that_a_check_is_due_for(self, tmp_path: Path) -> None:
        """partclone refuses it, though it is clean."""
        image = blank(tmp_path / "ext", 8)
        sh("mke2fs", "-q", "-text3", image)
        sh("tune2fs", "-c1", "-C9", image)
        assert used(image, "ext3").total < 4 * MIB

    @pytest.mark.parametrize(
        ("at", "value", "said"),
        [(0x60, 0x80000000, "dumpe2fs cannot tell"), (0xC, 77, "its bitmaps do not add up")],
        ids=["unknown feature", "wrong count"],
    )
    def test_one_that_nobody_can_be_sure_of_is_captured_whole_with_a_warning(
        self, tmp_path: Path, at: int, value: int, said: str
    ) -> None:
        image = blank(tmp_path / "ext", 8)
        sh("mke2fs", "-q", "-Osparse_super", image)
        with image.open("r+b") as file:
            file.seek(1024 + at)
            file.write(struct.pack("<I", value))
        survey = Survey()
        assert survey.used(str(image), "it", "ext2").pairs == [(0, 8 * MIB)]
        assert survey.warnings[0].startswith(f"it (ext2) is captured whole: {said}")

    def test_journal_in_another_partition_of_the_disk_comes_along_and_one_that_is_elsewhere_is_refused(
        self, tmp_path: Path
    ) -> None:
        disk = rubbish(tmp_path / "m.raw", 32)
        sh("sfdisk", "--quiet", disk, data=b"label: gpt\nsize=16MiB\nsize=12MiB\n")
        files(tmp_path / "source")
        with partition(disk, 1) as data, partition(disk, 2) as journal:
            sh("mke2fs", "-q", "-Ojournal_dev", "-b1024", journal)
            sh("mke2fs", "-q", "-text4", "-b1024", "-J", f"device={journal}", "-d", tmp_path / "source", data)
        store = PathStore(tmp_path)
        captured = capture(store, str(disk), "m", "1")
        assert [region.filesystem for region in captured.index.partitions] == ["ext4", "jbd"]
        target = rubbish(tmp_path / "target.raw", 32)
        deploy(store, captured.index, str(target))
        with partition(target, 1) as data, partition(target, 2) as journal:
            sh("e2fsck", "-fn", "-j", journal, data)
            with mounted(data, tmp_path / "mnt", "ext4", f"journal_path={journal}") as mount:
                assert tree(mount) == tree(tmp_path / "source")
        for number, kind in ((1, "ext4"), (2, "jbd")):
            half = tmp_path / "half.raw"
            half.write_bytes(disk.read_bytes())
            sh("sfdisk", "--quiet", "--delete", half, 3 - number)
            with pytest.raises(DiskError, match=rf"partition {number} \({kind}\) needs 2 devices to be whole"):
                capture(store, str(half), "half", "1", dry_run=True)


class TestXfs:
    """Small ones are for tests only, says mkfs.xfs."""

    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("TEST_DIR", "TEST_DEV", "QA_CHECK_FS"):
            monkeypatch.setenv(name, "1")

    @pytest.mark.parametrize(
        "options", [[], ["-mreflink=0,finobt=0", "-bsize=1024"], ["-mrmapbt=1", "-ssize=4096"], ["-dsu=64k,sw=4", "-isize=2048"]]
    )
    def test_each_of_its_features(self, tmp_path: Path, options: list[str]) -> None:
        image = rubbish(tmp_path / "xfs", 64)
        sh("mkfs.xfs", "-q", "-f", "-K", *options, image)
        with opened(image, "xfs") as mount:
            sh("cp", *files(tmp_path / "source"), mount)
            sh("cp", "--reflink=auto", mount / "file-2", mount / "shared")
            (mount / "file-1").unlink()
            wanted = tree(mount)
        copy = copied(image, "xfs")
        sh("xfs_repair", "-n", copy)
        with opened(copy, "xfs", "ro") as mount:
            assert tree(mount) == wanted

    def test_fourth_version_of_its_format(self, tmp_path: Path) -> None:
        """Newer kernels no longer mount it."""
        sources = files(tmp_path / "source")
        lines = [f"{path.name} ---644 0 0 {path}" for path in sources]
        (tmp_path / "list").write_text("\n".join(["/", "0 0", "d--755 0 0", *lines, "$", ""]))
        image = rubbish(tmp_path / "xfs", 64)
        sh("mkfs.xfs", "-q", "-f", "-K", "-mcrc=0", "-p", tmp_path / "list", image)
        copy = copied(image, "xfs")
        sh("xfs_repair", "-n", copy)
        said = sh("xfs_db", "-r", "-c", f"path /{sources[0].name}", "-c", "bmap", copy).decode()
        (place, count) = re.findall(r"startblock \d+ \(0/(\d+)\) count (\d+)", said)[0]
        with copy.open("rb") as file:
            file.seek(int(place) * 4096)
            assert file.read(int(count) * 4096).rstrip(b"\0") == sources[0].read_bytes().rstrip(b"\0")

    def test_log_in_another_partition_of_the_disk_comes_along_and_one_that_is_elsewhere_is_refused(self, tmp_path: Path) -> None:
        disk = rubbish(tmp_path / "m.raw", 82)
        sh("sfdisk", "--quiet", disk, data=b"label: gpt\nsize=60MiB\nsize=20MiB\n")
        with partition(disk, 1) as data, partition(disk, 2) as log:
            sh("mkfs.xfs", "-q", "-f", "-K", "-llogdev=" + log, data)
            with mounted(data, tmp_path / "mnt", "xfs", f"logdev={log}") as mount:
                sh("cp", *files(tmp_path / "source"), mount)
        store = PathStore(tmp_path)
        captured = capture(store, str(disk), "m", "1", level=1)
        assert len(captured.warnings) == 1 and "partition 1 (xfs) is captured whole: it has its log" in captured.warnings[0]
        target = rubbish(tmp_path / "target.raw", 100)
        deploy(store, captured.index, str(target), grow="1")
        with partition(target, 1) as data, partition(target, 2) as log:
            sh("xfs_repair", "-n", "-l", log, data)
            with mounted(data, tmp_path / "mnt", "xfs", f"logdev={log}") as mount:
                assert tree(mount) == tree(tmp_path / "source")
        sh("sfdisk", "--quiet", "--delete", disk, "2")
        with pytest.raises(DiskError, match=r"partition 1 \(xfs\) needs 2 devices to be whole, of which this disk has 1"):
            capture(store, str(disk), "half", "1", dry_run=True)

    def test_data_on_a_realtime_device_is_refused(self, tmp_path: Path) -> None:
        image, realtime = blank(tmp_path / "xfs", 64), blank(tmp_path / "realtime", 32)
        sh("mkfs.xfs", "-q", "-mreflink=0,rmapbt=0", f"-rrtdev={realtime}", image)
        survey = Survey()
        survey.used(str(image), "it", "xfs")
        with pytest.raises(DiskError, match=r"it \(xfs\) needs 2 devices to be whole"):
            survey.refuse_incomplete()


@pytest.mark.parametrize("options", [[], ["-c512"], ["-s4096", "-c65536"], ["-C"]])
def test_ntfs_with_each_size_of_cluster_and_sector_and_with_compressed_and_sparse_files(
    tmp_path: Path, options: list[str]
) -> None:
    image = rubbish(tmp_path / "ntfs", 40)
    sh("mkfs.ntfs", "-F", "-q", *options, image)
    with opened(image, "ntfs-3g", "compression") as mount:
        sh("cp", *files(tmp_path / "source"), mount)
        with (mount / "sparse").open("wb") as file:
            file.write(b"x")
            file.seek(5 * MIB)
            file.write(b"y")
            file.truncate(9 * MIB)
        (mount / "even").write_bytes(b"a" * MIB)
        (mount / "file-1").unlink()
        wanted = tree(mount)
    copy = copied(image, "ntfs")
    sh("ntfsfix", "--no-action", copy)
    sh("ntfsresize", "--info", "--force", copy)
    with opened(copy, "ntfs-3g", "ro") as mount:
        assert tree(mount) == wanted


@contextmanager
def opened_exfat(image: Path) -> Iterator[Path]:
    """Mount exFAT, which the kernel lacks; its program writes until it ends."""
    loop = sh("losetup", "--find", "--show", "--sector-size", 512, image).decode().strip()
    folder = image.with_suffix(".mnt")
    folder.mkdir(exist_ok=True)
    try:
        with background(["mount.exfat-fuse", "-d", loop, str(folder)]):
            wait_until(folder.is_mount, 10, "exFAT to be mounted")
            yield folder
            sh("umount", folder)
    finally:
        sh("losetup", "--detach", loop)


@pytest.mark.parametrize("options", [[], ["-c512"], ["-b1M", "-c64K"], ["--pack-bitmap"]])
def test_exfat_with_each_size_of_cluster(tmp_path: Path, options: list[str]) -> None:
    image = rubbish(tmp_path / "exfat", 40)
    sh("mkfs.exfat", *options, image)
    with opened_exfat(image) as mount:
        sh("cp", *files(tmp_path / "source"), mount)
        (mount / "file-1").unlink()
        wanted = tree(mount)
    copy = copied(image, "exfat")
    sh("fsck.exfat", "-n", copy)
    with opened_exfat(copy) as mount:
        assert tree(mount) == wanted


@pytest.mark.parametrize("kind", ["clonezilla", "fog"])
def test_folder_for_others_has_whole_what_partclone_maps_wrongly(tmp_path: Path, kind: str) -> None:
    """One that partclone made lacks parts, and is imported with a warning."""
    disk = rubbish(tmp_path / "m.raw", 10)
    sh("sfdisk", "--quiet", disk, data=b"label: gpt\nsize=8MiB\n")
    with partition(disk, 1) as device:
        sh("mkfs.fat", "-F12", device)
        sh("mcopy", "-i", device, *files(tmp_path / "source"), "::")
    store = PathStore(tmp_path)
    index = capture(store, str(disk), "m", "1").index
    export_image(store, index, tmp_path / "folder", kind, level=1)
    back = import_image(store, "back", "1", tmp_path / "folder")
    assert back.warnings == []
    target = rubbish(tmp_path / "target.raw", 10)
    deploy(store, back.index, str(target))
    with partition(target, 1) as device:
        assert TestFat().read(device, tmp_path / "read") == tree(tmp_path / "source")
    if kind == "fog":
        with partition(disk, 1) as device:
            sh("partclone.vfat", "-c", "-s", device, "-O", tmp_path / "saved", "-L", tmp_path / "log")
        sh("zstd", "-q", "-f", tmp_path / "saved", "-o", tmp_path / "folder/d1p1.img")
        warning = import_image(store, "lacking", "1", tmp_path / "folder").warnings[0]
        assert re.match(r"partition 1 \(vfat\): \d+ bytes that it uses are not in the folder", warning)


@pytest.mark.parametrize(
    ("kind", "command", "kept"),
    [
        ("vfat", "mkfs.fat -F12", ""),
        ("vfat", "mkfs.fat -F16", "vfat"),
        ("ext4", "mkfs.ext4 -q", "ext4"),
        ("ext4", "mkfs.ext4 -q -Obigalloc", ""),
        ("btrfs", "mkfs.btrfs -q --mixed", ""),
        ("ntfs", "mkfs.ntfs -F -q", "ntfs"),
        ("swap", "mkswap", ""),
    ],
)
def test_partclone_is_trusted_with_what_it_maps_right(tmp_path: Path, kind: str, command: str, kept: str) -> None:
    image = blank(tmp_path / "image", 24)
    sh(*command.split(), image)
    if kind == "vfat":
        sh("mcopy", "-i", image, *files(tmp_path / "source"), "::")
    assert kept_by_partclone(filesystem(kind), str(image)) == kept


def test_f2fs_over_several_devices_is_refused(tmp_path: Path) -> None:
    one, _two = blank(tmp_path / "one", 128), blank(tmp_path / "two", 64)
    sh("env", "-C", tmp_path, "mkfs.f2fs", "-q", "-c", "two", "one")  # it takes no long names
    survey = Survey()
    survey.used(str(one), "it", "f2fs")
    with pytest.raises(DiskError, match=r"it \(f2fs\) needs 2 devices to be whole, of which this disk has 1"):
        survey.refuse_incomplete()


@pytest.mark.parametrize(
    ("level", "layout", "parts", "needed"),
    [(1, 0, 2, 1), (0, 0, 2, 2), (5, 2, 3, 2), (6, 2, 4, 2), (10, 0x102, 4, 2), (-1, 0, 3, 3)],
)
def test_part_of_a_raid_is_captured_if_it_is_enough(tmp_path: Path, level: int, layout: int, parts: int, needed: int) -> None:
    """No kernel that runs the tests makes one; mdadm itself would only read it."""
    image = blank(tmp_path / "md", 4)
    with image.open("r+b") as file:
        file.seek(4096)
        head = struct.pack("<II8x16s32sQiIQII", 0xA92B4EFC, 1, b"uuid", b"name", 0, level, layout, 4096, 0, parts)
        file.write(head.ljust(144, b"\0") + struct.pack("<Q", 8))
    assert b'TYPE="linux_raid_member"' in sh("blkid", "--probe", image)
    survey = Survey()
    assert survey.used(str(image), "it", "linux_raid_member").pairs == [(0, 4 * MIB)]
    assert "it (linux_raid_member) is captured whole: it is part of a RAID" in survey.warnings[0]
    if needed == 1:
        survey.refuse_incomplete()
        return
    with pytest.raises(
        DiskError, match=rf"it \(linux_raid_member\) needs {needed} devices to be whole, of which this disk has 1"
    ):
        survey.refuse_incomplete()


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("vfat", "mkfs.fat"),
        ("exfat", "mkfs.exfat"),
        ("ntfs", "mkfs.ntfs -F -Q"),
        ("ext4", "mkfs.ext4"),
        ("xfs", "mkfs.xfs"),
        ("btrfs", "mkfs.btrfs"),
        ("f2fs", "mkfs.f2fs"),
    ],
)
def test_filesystem_longer_than_its_partition_is_refused(tmp_path: Path, kind: str, command: str) -> None:
    image = blank(tmp_path / "image", 320)
    sh(*command.split(), image)
    with image.open("r+b") as file:
        file.truncate(318 * MIB)
    said = rf"it \({kind}\) says that it is \d+ bytes long, but its place has {318 * MIB}: it was cut off"
    with pytest.raises(DiskError, match=said):
        used(image, kind)
