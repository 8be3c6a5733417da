# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders and disk files of other programs, made and read by those programs themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.partclone import restore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.transfer import export_image, import_image
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from .conftest import MIB, blank, contents, deploy, mounted, partition, sh, tree

ESP, RESERVED, WINDOWS, ROOT, SWAP = 1, 2, 3, 4, 5
LAYOUT = b"""label: gpt
label-id: 5F2E7A10-9C0B-4B6D-8D5E-0123456789AB
start=2048, size=36864, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="ESP"
start=38912, size=2048, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE, name="Microsoft reserved partition"
start=40960, size=98304, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name="Windows", attrs="GUID:63"
start=139264, size=65536, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name="root"
start=204800, size=16384, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F, name="swap"
"""
OLD_LAYOUT = b"""label: dos
label-id: 0x7a11ab1e
start=2048, size=40960, type=7, bootable
start=43008, size=61440, type=5
start=45056, size=32768, type=83
start=79872, size=16384, type=82
"""
SWAP_UUID = "80b8abff-8060-44f9-97b9-3d8129d02bad"
CHECKS = {"vfat": ["fsck.vfat", "-n"], "ntfs": ["ntfsfix", "--no-action"], "ext4": ["e2fsck", "-fn"]}
# Clonezilla sees no disk but the one that it is to work on, nor what other runs of it keep in /tmp; it leaves no logs,
# does not pause, and does not wait for what the rest of the machine writes.
CONFINED = """
for node in $(lsblk --noheadings --list --paths --output NAME); do
  case $node in "$1"|"$1"p*) ;; *) mount --bind /dev/null "$node" || [ ! -e "$node" ];; esac
done
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /mnt
mkdir /mnt/partimag
mount --bind "$2" /mnt/partimag
mount -t tmpfs tmpfs /tmp
mount --bind "$(which true)" "$(which sleep)"
mount --bind "$(which true)" "$(which sync)"
shift 2
exec ocs-sr -or /mnt/partimag "$@"
"""


def fill(folder: Path, seed: str, count: int = 8) -> None:
    for number in range(count):
        (folder / f"file-{number}").write_bytes(contents(MIB // 2 + number * 4097, f"{seed}{number}"))
    sh("sync", "-f", folder)
    (folder / "file-3").unlink()


def format_partition(disk: Path, number: int, kind: str, folder: Path) -> None:
    make = {
        "vfat": ["mkfs.vfat", "-n", "ESP"],
        "ntfs": ["mkfs.ntfs", "-F", "-q", "-L", "Windows"],
        "ext4": ["mkfs.ext4", "-q", "-L", "root"],
        "swap": ["mkswap", "--uuid", SWAP_UUID, "--label", "paging"],
    }
    with partition(disk, number) as device:
        sh(*make[kind], device)
        if kind != "swap":
            with mounted(device, folder / "mnt", "ntfs-3g" if kind == "ntfs" else kind) as mount:
                fill(mount, kind)


@pytest.fixture(scope="module")
def pc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT disk as of a dual-boot PC."""
    folder = tmp_path_factory.mktemp("pc")
    disk = blank(folder / "pc.raw", 110)
    with disk.open("r+b") as file:
        file.write(contents(440, "mbr boot code"))
    sh("sfdisk", "--quiet", disk, data=LAYOUT)
    for number, kind in ((ESP, "vfat"), (WINDOWS, "ntfs"), (ROOT, "ext4"), (SWAP, "swap")):
        format_partition(disk, number, kind, folder)
    return disk


@pytest.fixture(scope="module")
def old_pc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MBR disk with a boot loader behind its first sector, and logical partitions."""
    folder = tmp_path_factory.mktemp("old")
    disk = blank(folder / "old.raw", 56)
    sh("sfdisk", "--quiet", disk, data=OLD_LAYOUT)
    with disk.open("r+b") as file:
        file.write(b"GRUB" + contents(436, "mbr boot code"))
        file.seek(512)
        file.write(contents(60_000, "grub core"))
    for number, kind in ((1, "ntfs"), (5, "ext4"), (6, "swap")):
        format_partition(disk, number, kind, folder)
    return disk


@pytest.fixture
def store(tmp_path: Path) -> PathStore:
    (tmp_path / "store").mkdir()
    return PathStore(tmp_path / "store")


def image_of(store: PathStore, disk: Path) -> Index:
    return capture(store, str(disk), "pc", "1").index


@contextmanager
def attached(disk: Path) -> Iterator[str]:
    """A disk file as a whole disk, with devices for its partitions."""
    loop = sh("losetup", "--find", "--show", "--sector-size=512", disk).decode().strip()
    subprocess.run(["partx", "--add", loop], capture_output=True, check=False)
    try:
        yield loop
    finally:
        subprocess.run(["partx", "--delete", loop], capture_output=True, check=False)
        sh("losetup", "--detach", loop)


def clonezilla(loop: str, folder: Path, *options: str) -> None:
    """Run Clonezilla's C(ocs-sr) on a disk; the last options are its command, to which the folder and the disk are added."""
    confined = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", CONFINED, "sh", loop, str(folder.parent)]
    general = ["-batch", "-nogui", "-senc", "-p", "true"]
    result = subprocess.run(
        [*confined, *general, *options, folder.name, loop[len("/dev/") :]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={**os.environ, "TERM": "xterm"}, timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout.decode(errors="replace")[-3000:]


SAVE = ("-q2", "-j2", "-sfsck", "-sc")
RESTORE = ("-j2", "-scr")
Runs = Dict[str, Future[Path]]


@pytest.fixture(scope="module")
def runs(pc: Path, old_pc: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All that Clonezilla does here, at the same time, because it takes long: each run gives its folder or disk.

    C(saved): the GPT disk, zstd, one file for each partition, with checksums. C(old_saved): the MBR disk, gzip, split.
    C(restored), C(old_restored): disks that it made of our exports.
    """
    base = tmp_path_factory.mktemp("partimag")
    store = PathStore(base / "store")
    blanks = {name: blank(base / f"{name}.raw", size) for name, size in (("restored", 120), ("old_restored", 56))}
    disks = {"saved": pc, "old_saved": old_pc, **blanks}

    def save(name: str, loop: str, *options: str) -> Path:
        clonezilla(loop, base / name, *SAVE, *options, "savedisk")
        return base / name

    def restore(name: str, loop: str, disk: Path, *options: str) -> Path:
        assert export_image(store, capture(store, str(disk), name, "1").index, base / f"{name}.folder", "clonezilla")
        clonezilla(loop, base / f"{name}.folder", *RESTORE, *options, "restoredisk")
        return disks[name]

    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        # All are attached before the first begins, so that each run can hide what is not its own.
        loops = {name: stack.enter_context(attached(disk)) for name, disk in disks.items()}
        yield {
            "saved": pool.submit(save, "saved", loops["saved"], "-z9p", "-i", "0", "-gs"),
            "old_saved": pool.submit(save, "old_saved", loops["old_saved"], "-z1p", "-i", "1"),
            "restored": pool.submit(restore, "restored", loops["restored"], pc, "-cs"),
            "old_restored": pool.submit(restore, "old_restored", loops["old_restored"], old_pc),
        }


@pytest.fixture(scope="module")
def saved(runs: Runs) -> Path:
    return runs["saved"].result()


@pytest.fixture(scope="module")
def old_saved(runs: Runs) -> Path:
    return runs["old_saved"].result()


def entries(disk: Path) -> list[str]:
    """Return what sfdisk says of the partitions, and the disk's own id."""
    lines = sh("sfdisk", "--dump", disk).decode().splitlines()
    return [line.split(":", 1)[-1] for line in lines if "start=" in line or line.startswith("label-id")]


def same_files(one: Path, other: Path, kinds: dict[int, str], folder: Path) -> None:
    """Compare the files of two disks, by mounting them, and check the filesystems of the other with their own tools."""
    for number, kind in kinds.items():
        with partition(other, number) as device:
            sh(*CHECKS[kind], device)
        found = []
        for disk in (one, other):
            driver = "ntfs-3g" if kind == "ntfs" else kind
            with partition(disk, number) as device, mounted(device, folder / "mnt", driver, "ro") as mount:
                found.append(tree(mount))
        assert found[0] == found[1]
        assert len(found[0]) == 7


def same_last_sector(one: Path, other: Path, number: int) -> None:
    """NTFS keeps a copy of its boot sector there, which partclone does not save."""
    found = []
    for disk in (one, other):
        with partition(disk, number) as device:
            found.append(Path(device).read_bytes()[-512:])
    assert found[0] == found[1]
    assert found[0][3:7] == b"NTFS"


def holds_the_same(store: PathStore, index: Index, disk: Path) -> None:
    """An image has every used byte of a disk, and its table."""
    found = deploy(store, index, str(disk), dry_run=True)
    assert (found.changed, found.differing) == (False, [])


class TestClonezilla:
    def test_folder_that_it_saved_becomes_the_disk(self, pc: Path, saved: Path, store: PathStore, tmp_path: Path) -> None:
        index = import_image(store, "pc", "1", saved).index
        assert index.disk_size == pc.stat().st_size
        target = blank(tmp_path / "target.raw", 110)
        deploy(store, index, str(target))
        assert entries(target) == entries(pc)
        assert target.read_bytes()[:440] == pc.read_bytes()[:440]
        same_files(pc, target, {ESP: "vfat", WINDOWS: "ntfs", ROOT: "ext4"}, tmp_path)
        same_last_sector(pc, target, WINDOWS)

    def test_split_gzip_and_logical_partitions(self, old_pc: Path, old_saved: Path, store: PathStore, tmp_path: Path) -> None:
        assert len(list(old_saved.glob("*ext4-ptcl-img.gz.a*"))) > 1
        index = import_image(store, "old", "1", old_saved).index
        target = blank(tmp_path / "target.raw", 56)
        deploy(store, index, str(target))
        assert entries(target) == entries(old_pc)
        assert target.read_bytes()[: MIB - 512] == old_pc.read_bytes()[: MIB - 512]
        same_files(old_pc, target, {1: "ntfs", 5: "ext4"}, tmp_path)
        with partition(target, 6) as device:
            assert SWAP_UUID.encode() in sh("blkid", "--probe", device)

    def test_it_restores_what_we_export(self, pc: Path, runs: Runs, tmp_path: Path) -> None:
        target = runs["restored"].result()
        assert entries(target) == entries(pc)
        assert target.read_bytes()[:440] == pc.read_bytes()[:440]
        same_files(pc, target, {ESP: "vfat", WINDOWS: "ntfs", ROOT: "ext4"}, tmp_path)
        with partition(target, SWAP) as device:
            tags = sh("blkid", "--probe", device)
        assert SWAP_UUID.encode() in tags and b"paging" in tags

    def test_it_restores_an_exported_mbr_disk(self, old_pc: Path, runs: Runs, tmp_path: Path) -> None:
        target = runs["old_restored"].result()
        assert entries(target) == entries(old_pc)
        # Clonezilla restores the boot code and what is behind it up to the first partition.
        assert target.read_bytes()[512:60_000] == old_pc.read_bytes()[512:60_000]
        same_files(old_pc, target, {1: "ntfs", 5: "ext4"}, tmp_path)

    @pytest.mark.parametrize(
        ("file", "damage", "message"),
        [
            ("loop*p4.ext4-ptcl-img.zst", "remove", r"is missing, though the checksums"),
            ("loop*p4.ext4-ptcl-img.zst", "flip", r"p4\.ext4-ptcl-img\.zst.* damaged"),
            ("loop*-mbr", "flip", r"-mbr is damaged: its \w+ checksum"),
            ("loop*-pt.sf", "remove", r"-pt\.sf is missing"),
            ("loop*-pt.sf", "flip", r"-pt\.sf is damaged: its \w+ checksum"),
        ],
    )
    def test_incomplete_folder(self, saved: Path, store: PathStore, tmp_path: Path, file: str, damage: str, message: str) -> None:
        refused(store, damaged(saved, tmp_path, file, damage), message)

    @pytest.mark.parametrize(
        ("file", "damage", "message"),
        [
            ("*p5.ext4-ptcl-img.gz.aa", "remove", r"p5\.ext4-ptcl-img\.gz\.aa is missing"),
            ("*p5.ext4-ptcl-img.gz.ab", "remove", r"p5\.ext4-ptcl-img\.gz\.ab is missing"),
            ("*p5.ext4-ptcl-img.gz.ab", "truncate", r"p5\.ext4-ptcl-img\.gz\.ab has 60 bytes"),
            ("*p5.ext4-ptcl-img.gz.ab", "empty", r"p5\.ext4-ptcl-img\.gz\.ab is empty"),
            ("*p1.ntfs-ptcl-img.gz.*", "remove", r"partition \S+p1 is missing"),
            ("swappt-*", "remove", r"partition \S+p6 is missing"),
            ("loop*-mbr", "truncate", r"-mbr has 60 bytes"),
            ("loop*-hidden-data-after-mbr", "truncate", r"-hidden-data-after-mbr is missing or truncated: .* and 60 are there"),
            ("loop*-hidden-data-after-mbr", "remove", r"-hidden-data-after-mbr is missing or truncated: .* and 0 are there"),
            ("loop*-pt.sf", "truncate", r"-pt\.sf names no partition"),
        ],
    )
    def test_incomplete_split_folder(
        self, old_saved: Path, store: PathStore, tmp_path: Path, file: str, damage: str, message: str
    ) -> None:
        refused(store, damaged(old_saved, tmp_path, file, damage), message)

    def test_last_part_that_is_lost_or_cut(self, old_saved: Path, store: PathStore, tmp_path: Path) -> None:
        folder = damaged(old_saved, tmp_path, "nothing", "remove")
        last = max(folder.glob("*p1.ntfs-ptcl-img.gz.*"))
        last.write_bytes(last.read_bytes()[:-100])
        refused(store, folder, re.escape(last.name) + r" ends too early")
        last.unlink()
        refused(store, folder, r"ntfs-ptcl-img\.gz\.a\w ends too early: it is truncated, or a part that belongs behind it")

    @pytest.mark.parametrize("lost", [5, 6])
    def test_table_that_is_cut_between_two_lines(self, old_saved: Path, store: PathStore, tmp_path: Path, lost: int) -> None:
        """Partition 6 is swap, which is not among the files that hold partitions."""
        folder = damaged(old_saved, tmp_path, "nothing", "remove")
        table = next(folder.glob("loop*-pt.sf"))
        text = table.read_text()
        table.write_text(text[: re.search(rf"^/dev/loop\d+p{lost} ", text, re.MULTILINE).start()])  # type: ignore[union-attr]
        refused(store, folder, rf"-pt\.sf names no partition loop\d+p{lost}, which the folder holds")

    def test_plain_partition_for_which_there_is_no_room(self, tmp_path: Path) -> None:
        """The kernel tells of a full disk under a loop device only when all is to be written out."""
        (tmp_path / "work").mkdir()
        sh("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path / "work")
        try:
            disk = blank(tmp_path / "work/sda", 8)
            loop = sh("losetup", "--find", "--show", "--sector-size=512", disk).decode().strip()
            try:
                with pytest.raises(ReimageError, match="sda3 cannot be unpacked; is there room in the work folder"):
                    restore(iter([contents(8 * MIB, "LUKS")]), loop, 8 * MIB, "sda3", plain=True)
            finally:
                sh("losetup", "--detach", loop)
        finally:
            sh("umount", tmp_path / "work")

    def test_names_that_lead_out_of_the_folder(self, old_saved: Path, store: PathStore, tmp_path: Path) -> None:
        folder = damaged(old_saved, tmp_path, "nothing", "remove")
        (folder / "disk").write_text("../../etc\n")
        refused(store, folder, "not the name of a disk")

    def test_several_disks(self, old_saved: Path, store: PathStore, tmp_path: Path) -> None:
        folder = damaged(old_saved, tmp_path, "nothing", "remove")
        (folder / "disk").write_text("sda sdb\n")
        refused(store, folder, r"holds 2 disks \(sda, sdb\)")


def damaged(folder: Path, tmp_path: Path, pattern: str, damage: str) -> Path:
    """Return a copy of a folder in which the files that match were damaged."""
    copy = tmp_path / "damaged"
    shutil.copytree(folder, copy)
    paths = list(copy.glob(pattern))
    assert paths or pattern == "nothing"
    for path in paths:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        if damage == "remove":
            path.unlink()
        else:
            path.write_bytes({"flip": bytes(data), "truncate": bytes(data[:60]), "empty": b""}[damage])
    return copy


def refused(store: PathStore, source: Path, message: str, kind: str = "auto") -> None:
    with pytest.raises(ReimageError, match=message):
        import_image(store, "refused", "1", source, kind)
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def fog_capture(disk: Path, folder: Path, pack: str, *, resizable: bool) -> None:
    """Do what FOG's C(fog.upload) does, with the same commands but for the screen."""
    folder.mkdir()
    gpt = b"label: gpt" in sh("sfdisk", "--dump", disk)
    (folder / "d1.partitions").write_bytes(sh("sfdisk", "--dump", disk))
    if gpt:
        sh("sgdisk", "-b", folder / "d1.mbr", disk)
    else:
        (folder / "d1.mbr").write_bytes(disk.read_bytes()[:MIB])
    kinds = {1: "fat", 2: "imager", 3: "ntfs", 4: "extfs"} if gpt else {1: "ntfs", 5: "extfs"}
    (folder / "d1.original.swapuuids").write_text(f"{5 if gpt else 6} {SWAP_UUID}\n")
    if resizable:
        (folder / "d1.minimum.partitions").write_bytes(sh("sfdisk", "--dump", disk))
        (folder / "d1.fixed_size_partitions").write_text("1:2:5\n" if gpt else "2:6\n")

    def save(number: int, kind: str) -> None:
        checksum = "" if kind == "imager" else "-a0"
        with partition(disk, number) as device:
            if resizable and kind == "ntfs":
                sh("ntfsresize", "-f", "-f", "-P", "-s", str(16 * MIB), device, data=b"y\n")
                sh("ntfsfix", "-b", "-d", device)
            if resizable and kind == "extfs":
                sh("e2fsck", "-fp", device)
                sh("resize2fs", device, "14M")
            image = folder / f"d1p{number}.img"
            partclone = f"partclone.{kind} -cs {device} -O /dev/stdout -L {image}.log {checksum} 2>/dev/null"
            sh("bash", "-o", "pipefail", "-c", f"{partclone} | {pack.format(image)}")
            image.with_name(image.name + ".log").unlink()
            first = image.with_name(image.name + ".000")
            if first.exists():
                first.rename(image)

    at_once(save, *kinds.items())


def at_once(work: Callable[..., None], *arguments: tuple[object, ...]) -> None:
    """Do the same for several partitions at the same time: partclone sleeps for seconds each time."""
    with ThreadPoolExecutor() as pool:
        for future in [pool.submit(work, *some) for some in arguments]:
            future.result()


ZSTD = "zstdmt --rsyncable --ultra -3 > {}"
SPLIT_GZIP = "pigz -6 | split -a 3 -d -b 1m - {}."


@pytest.fixture(scope="module")
def fixed(pc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What FOG saved of the GPT disk, fixed."""
    folder = tmp_path_factory.mktemp("images") / "fixed"
    fog_capture(pc, folder, ZSTD, resizable=False)
    return folder


@pytest.fixture(scope="module")
def resizable(old_pc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What FOG saved of the MBR disk, resizable."""
    folder = tmp_path_factory.mktemp("images")
    disk = Path(shutil.copy(old_pc, folder / "shrunken.raw"))
    fog_capture(disk, folder / "resizable", SPLIT_GZIP, resizable=True)
    return folder / "resizable"


class TestFog:
    def test_fixed_zstd_folder_becomes_the_disk(self, pc: Path, fixed: Path, store: PathStore, tmp_path: Path) -> None:
        index = import_image(store, "pc", "1", fixed).index
        assert index.disk_size == pc.stat().st_size
        target = blank(tmp_path / "target.raw", 110)
        deploy(store, index, str(target))
        assert entries(target) == entries(pc)
        assert target.read_bytes()[:440] == pc.read_bytes()[:440]
        same_files(pc, target, {ESP: "vfat", WINDOWS: "ntfs", ROOT: "ext4"}, tmp_path)
        same_last_sector(pc, target, WINDOWS)
        with partition(target, RESERVED) as one, partition(pc, RESERVED) as other:
            sh("cmp", one, other)

    def test_resizable_split_gzip_folder_fills_its_partitions_again(
        self, old_pc: Path, resizable: Path, store: PathStore, tmp_path: Path
    ) -> None:
        assert (resizable / "d1p1.img.001").exists()
        index = import_image(store, "old", "1", resizable).index
        target = blank(tmp_path / "target.raw", 51)
        deploy(store, index, str(target))
        assert entries(target) == entries(old_pc)
        assert target.read_bytes()[: MIB - 512] == old_pc.read_bytes()[: MIB - 512]
        same_files(old_pc, target, {1: "ntfs", 5: "ext4"}, tmp_path)
        with partition(target, 5) as device:
            assert b"Block count:              16384" in sh("dumpe2fs", "-h", device)
        with partition(target, 1) as device:
            assert re.search(rb"Current volume size: 209\d\d\d\d\d bytes", sh("ntfsresize", "--info", "--force", device))

    def test_its_commands_restore_what_we_export(self, pc: Path, store: PathStore, tmp_path: Path) -> None:
        folder = tmp_path / "exported"
        assert export_image(store, image_of(store, pc), folder, "fog")
        target = blank(tmp_path / "target.raw", 110)
        sh("sgdisk", "-z", target)
        sh("sgdisk", "-gl", folder / "d1.mbr", target)
        assert entries(target) == entries(pc)

        def restore(number: int) -> None:
            with partition(target, number) as device:
                log = tmp_path / f"{number}.log"
                unpack = (
                    f"zstdmt -dc < {folder}/d1p{number}.img | partclone.restore --ignore_crc -O {device} -L {log} 2>/dev/null"
                )
                sh("bash", "-o", "pipefail", "-c", unpack)
                if number == WINDOWS:
                    sh("ntfsfix", "-b", "-d", device)

        at_once(restore, (ESP,), (RESERVED,), (WINDOWS,), (ROOT,))
        same_files(pc, target, {ESP: "vfat", WINDOWS: "ntfs", ROOT: "ext4"}, tmp_path)
        assert (folder / "d1.original.swapuuids").read_text() == f"{SWAP} {SWAP_UUID}\n"
        assert (folder / "d1.fixed_size_partitions").read_text() == "1:2:5\n"

    @pytest.mark.parametrize(
        ("file", "damage", "message"),
        [
            ("d1p1.img.001", "remove", r"d1p1\.img\.001 is missing"),
            ("d1p1.img", "remove", r"d1p1\.img is missing"),
            ("d1p1.img.001", "truncate", r"d1p1\.img\.001 has 60 bytes"),
            ("d1p5.img*", "remove", r"d1p5\.img is missing"),
            ("d1.original.swapuuids", "remove", r"d1p6\.img is missing"),
            ("d1.mbr", "remove", r"d1\.mbr is missing"),
            ("d1.mbr", "truncate", r"d1\.mbr has 60 bytes"),
        ],
    )
    def test_incomplete_folder(
        self, resizable: Path, store: PathStore, tmp_path: Path, file: str, damage: str, message: str
    ) -> None:
        refused(store, damaged(resizable, tmp_path, file, damage), message)

    def test_boot_loader_that_is_cut(self, resizable: Path, store: PathStore, tmp_path: Path) -> None:
        folder = damaged(resizable, tmp_path, "nothing", "remove")
        (folder / "d1.has_grub").touch()
        os.truncate(folder / "d1.mbr", 32 << 10)
        refused(store, folder, rf"d1\.mbr has 32768 bytes of {MIB}: the boot loader is truncated")

    def test_image_that_is_cut(self, resizable: Path, store: PathStore, tmp_path: Path) -> None:
        folder = damaged(resizable, tmp_path, "nothing", "remove")
        last = max(folder.glob("d1p1.img.*"))
        last.write_bytes(last.read_bytes()[:-100])
        refused(store, folder, re.escape(last.name) + r" ends too early")

    def test_image_that_is_larger_than_its_partition(self, resizable: Path, store: PathStore, tmp_path: Path) -> None:
        folder = damaged(resizable, tmp_path, "nothing", "remove")
        for path in folder.glob("d1p5.img*"):
            path.unlink()
        for path in folder.glob("d1p1.img*"):
            shutil.copy(path, path.with_name(path.name.replace("d1p1", "d1p5")))
        table = folder / "d1.partitions"
        table.write_text(table.read_text().replace("size=       32768", "size=       16384"))
        refused(store, folder, r"partition 5 \(")


class TestDiskFiles:
    @pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vhdx", "vdi", "raw"])
    def test_there_and_back(self, pc: Path, store: PathStore, tmp_path: Path, kind: str) -> None:
        source = tmp_path / f"source.{kind}"
        sh("qemu-img", "convert", "-O", kind, pc, source)
        index = import_image(store, "pc", "1", source).index
        holds_the_same(store, index, pc)
        exported = tmp_path / f"exported.{kind}"
        assert export_image(store, index, exported, kind)
        assert [path.name for path in tmp_path.glob(".*")] == []
        raw = tmp_path / "again.raw"
        sh("qemu-img", "convert", "-f", kind, "-O", "raw", exported, raw)
        holds_the_same(store, index, raw)
        same_files(pc, raw, {ESP: "vfat", WINDOWS: "ntfs", ROOT: "ext4"}, tmp_path)

    def test_second_export_changes_nothing(self, pc: Path, store: PathStore, tmp_path: Path) -> None:
        index, destination = image_of(store, pc), tmp_path / "disk.qcow2"
        assert export_image(store, index, destination, "qcow2")
        before = destination.stat()
        assert not export_image(store, index, destination, "qcow2")
        assert destination.stat().st_mtime_ns == before.st_mtime_ns

    def test_failed_export_leaves_nothing(self, pc: Path, store: PathStore, tmp_path: Path) -> None:
        index = image_of(store, pc)
        shutil.rmtree(store.root / "chunks")
        for kind in ("qcow2", "clonezilla"):
            with pytest.raises(ReimageError, match="chunk"):
                export_image(store, index, tmp_path / "exported", kind)
        assert {path.name for path in tmp_path.iterdir()} == {"store"}

    def test_disk_that_needs_another_file(self, pc: Path, store: PathStore, tmp_path: Path) -> None:
        overlay = tmp_path / "overlay.qcow2"
        sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", pc, "-F", "raw", overlay)
        refused(store, overlay, "pc.raw")

    def test_split_disk_that_reads_from_another_folder(self, pc: Path, store: PathStore, tmp_path: Path) -> None:
        folder = tmp_path / "vm"
        folder.mkdir()
        disk = folder / "disk.vmdk"
        sh("qemu-img", "convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", pc, disk)
        import_image(store, "pc", "1", disk)
        disk.write_text(disk.read_text().replace('"disk-flat.vmdk"', f'"{pc}"'))
        with pytest.raises(ReimageError, match=r"pc\.raw"):
            import_image(store, "pc", "2", disk)

    @pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vhdx", "vdi", "raw"])
    def test_truncated_disk(self, pc: Path, store: PathStore, tmp_path: Path, kind: str) -> None:
        disk = tmp_path / f"disk.{kind}"
        sh("qemu-img", "convert", "-O", kind, pc, disk)
        os.truncate(disk, disk.stat().st_size * 3 // 4)
        with pytest.raises(ReimageError, match=rf"disk\.{kind}"):
            import_image(store, "refused", "1", disk)
        assert store.images() == []

    def test_truncated_content_beside_a_disk(self, pc: Path, store: PathStore, tmp_path: Path) -> None:
        disk = tmp_path / "disk.vmdk"
        sh("qemu-img", "convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", pc, disk)
        flat = tmp_path / "disk-flat.vmdk"
        os.truncate(flat, flat.stat().st_size * 3 // 4)
        refused(store, disk, rf"disk-flat\.vmdk is truncated: it has \d+ bytes of {pc.stat().st_size}")

    def test_disk_that_ends_in_its_last_partition(self, old_pc: Path, store: PathStore, tmp_path: Path) -> None:
        """Of swap only the first page is read."""
        disk = Path(shutil.copy(old_pc, tmp_path / "disk.raw"))
        os.truncate(disk, 42 * MIB)
        refused(store, disk, rf"partition \d ends at byte \d+, and the disk at {42 * MIB}")

    def test_damaged_and_wrong_disk_files(self, pc: Path, store: PathStore, tmp_path: Path) -> None:
        cut = tmp_path / "cut.qcow2"
        sh("qemu-img", "convert", "-O", "qcow2", pc, cut)
        cut.write_bytes(cut.read_bytes()[:100])
        refused(store, cut, "cut.qcow2")
        refused(store, pc, "not a vhdx disk", "vhdx")
        refused(store, tmp_path, "none that Clonezilla or FOG made")
        refused(store, tmp_path / "nothing", "does not exist")
        refused(store, pc, "keeps its images in folders", "fog")
