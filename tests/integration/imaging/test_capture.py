# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a capture takes of each kind of partition, and what it refuses."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured, capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_ids
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import chunk_path

from .conftest import MIB, ROOT, blank, contents, deploy, mounted, partition, sh, tree
from .test_layouts import DATA, LINUX, make

Store = tuple[PathStore, Captured]
MSR = "E3C9E316-0B5C-4DB8-817D-F92DF00215AE"


@pytest.fixture
def store(tmp_path: Path) -> PathStore:
    return PathStore(tmp_path)


@pytest.fixture
def windows(tmp_path: Path) -> Path:
    return make(tmp_path / "w.raw", 44, [("ntfs", "Windows", 40, DATA)])


def refused(store: PathStore, disk: Path, *words: str) -> None:
    """The capture names the partition and says what to do, and stores nothing."""
    with pytest.raises(ReimageError) as caught:
        capture(store, str(disk), "lab", "1")
    for word in (str(disk), "partition 1", *words):
        assert word in str(caught.value)
    assert not (store.root / "chunks").exists()
    assert not (store.root / "images").exists()


def clear_clean_bit(data: bytearray) -> None:
    """Do to a FAT32 what Windows does when it mounts it."""
    table = int.from_bytes(data[14:16], "little") * 512
    data[table + 7] &= ~0x08


class TestRefusals:
    def test_hibernated_windows(self, store: PathStore, windows: Path, tmp_path: Path) -> None:
        with partition(windows, 1) as device, mounted(device, tmp_path / "mnt", "ntfs-3g") as folder:
            (folder / "hiberfil.sys").write_bytes(b"hibr".ljust(8192, b"\0"))
        refused(store, windows, "hibernated", "powercfg /h off")
        assert capture(store, str(windows), "lab", "1", accept=["hibernated"]).index.image == "lab/1"

    def test_windows_that_waits_for_chkdsk(self, store: PathStore, windows: Path) -> None:
        with partition(windows, 1) as device:
            sh("ntfsfix", device)  # which marks it as dirty
        refused(store, windows, "dirty", "chkdsk")
        assert capture(store, str(windows), "lab", "1", accept=["dirty"]).index.image == "lab/1"

    def test_bitlocker_even_if_all_is_accepted(self, store: PathStore, windows: Path) -> None:
        with partition(windows, 1) as device, Path(device).open("r+b") as file:
            file.write(bitlocker_header())
        refused(store, windows, "BitLocker", "manage-bde -off")
        with pytest.raises(ReimageError, match="BitLocker"):
            capture(store, str(windows), "lab", "1", accept=["dirty", "hibernated"])

    def test_linux_that_was_not_shut_down(self, store: PathStore, tmp_path: Path) -> None:
        disk = make(tmp_path / "l.raw", 44, [("ext4", "root", 40, LINUX)])
        copy = tmp_path / "copy.raw"
        with partition(disk, 1) as device, mounted(device, tmp_path / "mnt", "ext4") as folder:
            (folder / "being written").write_text("now")
            sh("sync", "-f", folder)
            shutil.copyfile(disk, copy)
        refused(store, copy, "not unmounted cleanly")
        assert capture(store, str(copy), "lab", "1", accept=["dirty"]).index.image == "lab/1"

    @pytest.mark.parametrize("kind", ["xfs", "btrfs"])
    def test_log_that_was_not_replayed(self, store: PathStore, tmp_path: Path, kind: str) -> None:
        """What only the log has as allocated is free for partclone: the image would have zeros there."""
        disk = make(tmp_path / "l.raw", 322, [(kind, "root", 320, LINUX)])
        copy = tmp_path / "copy.raw"
        options = "commit=300" if kind == "btrfs" else "rw"  # no commit meanwhile, which would end the log
        with partition(disk, 1) as device, mounted(device, tmp_path / "mnt", kind, options) as folder:
            for number in range(8):
                (folder / f"new-{number}").write_bytes(contents(MIB, f"new{number}"))
                sh("sync", folder / f"new-{number}")
            wanted = tree(folder)
            sh("sync", disk)
            sh("cp", "--sparse=always", disk, copy)
        refused(store, copy, f"({kind})", "not unmounted cleanly")
        captured = capture(store, str(copy), "lab", "1", accept=["dirty"])
        assert "captured whole: it is dirty" in captured.warnings[0]
        target = blank(tmp_path / "pc.raw", 322)
        deploy(store, captured.index, str(target))
        with partition(target, 1) as device, mounted(device, tmp_path / "mnt", kind) as folder:
            assert tree(folder) == wanted
        # The same filesystem, unmounted.
        capture(store, str(disk), "lab", "2")

    @pytest.mark.parametrize(
        ("make_filesystem", "mark", "advice"),
        [
            (["mkfs.vfat", "-F", "32"], clear_clean_bit, "fsck.fat -a"),
            (["mkfs.exfat"], lambda data: data.__setitem__(106, 2), "fsck.exfat"),
        ],
        ids=["vfat", "exfat"],
    )
    def test_fat_that_windows_did_not_finish(
        self, store: PathStore, tmp_path: Path, make_filesystem: list[str], mark: Callable[[bytearray], None], advice: str
    ) -> None:
        disk = make(tmp_path / "l.raw", 84, [("ext4", "x", 80, DATA)])
        with partition(disk, 1) as device:
            sh("wipefs", "--all", device)
            sh(*make_filesystem, device)
            capture(store, str(disk), "clean", "1")
            data = bytearray(Path(device).read_bytes())
            mark(data)
            Path(device).write_bytes(data)
        with pytest.raises(ReimageError, match=rf"partition 1 .*not unmounted cleanly.*chkdsk /f or {advice}"):
            capture(store, str(disk), "lab", "1")
        assert used(capture(store, str(disk), "lab", "1", accept=["dirty"]), 1) == 80 * MIB

    def test_disk_without_a_table(self, store: PathStore, tmp_path: Path) -> None:
        with pytest.raises(ReimageError, match="no partition table"):
            capture(store, str(blank(tmp_path / "empty.raw", 8)), "lab", "1")

    def test_disk_that_was_cut_short(self, store: PathStore, windows: Path) -> None:
        with windows.open("r+b") as file:
            file.truncate(43 * MIB)
        with pytest.raises(ReimageError, match="damaged, or the disk was cut short"):
            capture(store, str(windows), "lab", "1")


def bitlocker_header() -> bytes:
    """What blkid takes for BitLocker: the signature, and where the metadata begins."""
    header = bytearray(512)
    header[:11] = b"\xeb\x58\x90-FVE-FS-"
    header[11:13] = (512).to_bytes(2, "little")
    header[160:176] = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
    header[510:] = b"\x55\xaa"
    return bytes(header)


def used(captured: Captured, number: int) -> int:
    return next(region.extents.total for region in captured.index.partitions if region.number == number)


def test_swap_is_recreated_with_its_uuid_and_label_from_its_header_alone(store: PathStore, tmp_path: Path) -> None:
    disk = make(tmp_path / "m.raw", 84, [("swap", "sleepy", 40, LINUX), ("ext4", "root", 40, LINUX)])
    with partition(disk, 1) as device, Path(device).open("r+b") as file:
        file.seek(MIB)
        file.write(os.urandom(20 * MIB))  # what was swapped out
    captured = capture(store, str(disk), "lab", "1")
    assert used(captured, 1) == 4096
    target = blank(tmp_path / "pc.raw", 84)
    deploy(store, captured.index, str(target))
    with partition(disk, 1) as one, partition(target, 1) as other:
        said = [sh("blkid", "-p", "-o", "export", device).splitlines()[1:] for device in (one, other)]
    assert said[0] == said[1]
    assert b"LABEL=sleepy" in said[0]


def put_file(device: str, program: str, data: bytes, folder: Path) -> None:
    """Put a file into a filesystem, by what can do that without its kernel module where there is none."""
    if program == "mkfs.exfat":
        put_exfat_file(device, data)
        return
    if program == "mkfs.vfat":
        (folder / "file").write_bytes(data)
        sh("mcopy", "-i", device, folder / "file", "::")
        return
    with mounted(device, folder / "mnt", program[5:]) as mount:
        (mount / "file").write_bytes(data)


def get_file(device: str, program: str, folder: Path) -> bytes:
    if program == "mkfs.exfat":
        at, length = exfat_file(device)
        with Path(device).open("rb") as file:
            file.seek(at)
            return file.read(length)
    if program == "mkfs.vfat":
        return sh("mcopy", "-i", device, "::file", "-")
    with mounted(device, folder / "mnt", program[5:], "ro") as mount:
        return (mount / "file").read_bytes()


class Exfat:
    """As much of exFAT as one file in the root folder takes; nothing here can write exFAT, fsck.exfat then looks at it."""

    def __init__(self, device: str) -> None:
        with Path(device).open("rb") as file:
            boot = file.read(512)
        heap, _count, self.root = struct.unpack_from("<III", boot, 88)
        self.cluster = 512 << boot[109]
        self._heap = heap * 512

    def at(self, cluster: int) -> int:
        """Return where a cluster is, in bytes."""
        return self._heap + (cluster - 2) * self.cluster


def put_exfat_file(device: str, data: bytes) -> None:
    exfat = Exfat(device)
    first, count = 1000, -(-len(data) // exfat.cluster)
    assert not first % 8
    name = "file".encode("utf-16-le")
    hashed = 0
    for byte in "FILE".encode("utf-16-le"):
        hashed = ((hashed >> 1) | (hashed & 1) << 15) + byte & 0xFFFF
    stream = struct.pack("<BBxBHxxQxxxxIQ", 0xC0, 3, 4, hashed, len(data), first, len(data))
    entries = bytearray(struct.pack("<BBHH", 0x85, 2, 0, 0x20).ljust(32, b"\0") + stream + (b"\xc1\0" + name).ljust(32, b"\0"))
    total = 0
    for number, byte in enumerate(entries):
        if number not in (2, 3):
            total = ((total >> 1) | (total & 1) << 15) + byte & 0xFFFF
    entries[2:4] = total.to_bytes(2, "little")
    with Path(device).open("r+b") as file:
        file.seek(exfat.at(exfat.root))
        root = file.read(exfat.cluster)
        free = next(at for at in range(0, len(root), 32) if root[at] == 0)
        bitmap = next(struct.unpack_from("<I", root, at + 20)[0] for at in range(0, len(root), 32) if root[at] == 0x81)
        file.seek(exfat.at(exfat.root) + free)
        file.write(entries)
        file.seek(exfat.at(bitmap) + (first - 2) // 8)
        marks = (int.from_bytes(file.read(count // 8 + 2), "little") | ((1 << count) - 1) << (first - 2) % 8).to_bytes(
            count // 8 + 2, "little"
        )
        file.seek(exfat.at(bitmap) + (first - 2) // 8)
        file.write(marks)
        file.seek(exfat.at(first))
        file.write(data)


def exfat_file(device: str) -> tuple[int, int]:
    """Return where the file is, and its length."""
    exfat = Exfat(device)
    with Path(device).open("rb") as file:
        file.seek(exfat.at(exfat.root))
        root = file.read(exfat.cluster)
    stream = next(at for at in range(0, len(root), 32) if root[at] == 0xC0)
    first, length = struct.unpack_from("<IQ", root, stream + 20)
    return exfat.at(first), length


@pytest.mark.parametrize(
    ("make_filesystem", "check"),
    [
        (["mkfs.vfat", "-F", "16"], ["fsck.vfat", "-n"]),
        (["mkfs.vfat", "-F", "32"], ["fsck.vfat", "-n"]),
        (["mkfs.exfat"], ["fsck.exfat", "-n"]),
        (["mkfs.ext2", "-q"], ["e2fsck", "-fn"]),
        (["mkfs.ext3", "-q"], ["e2fsck", "-fn"]),
    ],
    ids=lambda words: words[-1],
)
def test_every_kind_of_filesystem_arrives_whole_and_small(
    store: PathStore, tmp_path: Path, make_filesystem: list[str], check: list[str]
) -> None:
    disk = make(tmp_path / "m.raw", 84, [("ext4", "root", 80, DATA)])
    with partition(disk, 1) as device:
        Path(device).write_bytes(os.urandom(80 * MIB))
        sh(*make_filesystem, device)
        put_file(device, make_filesystem[0], contents(3 * MIB, "a file"), tmp_path)
        sh(*check, device)
    captured = capture(store, str(disk), "lab", "1")
    assert used(captured, 1) < 20 * MIB
    target = blank(tmp_path / "pc.raw", 84)
    deploy(store, captured.index, str(target))
    with partition(target, 1) as device:
        sh(*check, device)
        assert get_file(device, make_filesystem[0], tmp_path) == contents(3 * MIB, "a file")


def test_partitions_that_nobody_knows_are_taken_whole(store: PathStore, tmp_path: Path) -> None:
    disk = make(tmp_path / "m.raw", 64, [("ext4", "root", 40, LINUX)])
    sh("sgdisk", "--new=2:0:+16M", f"--typecode=2:{MSR}", disk)
    with partition(disk, 2) as device:
        Path(device).write_bytes(contents(16 * MIB, "reserved"))
    captured = capture(store, str(disk), "lab", "1")
    assert used(captured, 2) == 16 * MIB
    target = blank(tmp_path / "pc.raw", 64)
    deploy(store, captured.index, str(target))
    with partition(disk, 2) as one, partition(target, 2) as other:
        sh("cmp", one, other)


def test_luks_is_taken_whole(store: PathStore, tmp_path: Path) -> None:
    disk = make(tmp_path / "m.raw", 44, [("ext4", "root", 40, LINUX)])
    with partition(disk, 1) as device:
        sh(
            "cryptsetup",
            "luksFormat",
            "--batch-mode",
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            device,
            "-",
            data=b"x",
        )
    captured = capture(store, str(disk), "lab", "1")
    assert captured.index.partitions[0].filesystem == "crypto_LUKS"
    assert used(captured, 1) == 40 * MIB


VOLUMES = """
logical_volumes {
root {
id = "AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA"
status = ["READ", "WRITE", "VISIBLE"]
segment_count = 1
segment1 {
start_extent = 0
extent_count = 12
type = "striped"
stripe_count = 1
stripes = ["pv0", 0]
}
}
}
"""


class TestLvm:
    """Physical volumes as LVM writes them; what is in a logical volume is put in its place without the kernel's help."""

    def disk(self, path: Path) -> Path:
        disk = make(path, 132, [("ext4", "x", 128, LINUX)])
        with partition(disk, 1) as device:
            sh("wipefs", "--all", device)
            only = ["--config", f'devices {{ filter=["a|{device}|","r|.*|"] use_devicesfile=0 }}']
            group, backup = f"lab{os.getpid()}", path.with_suffix(".vg")
            sh("pvcreate", "-y", *only, device)
            sh("vgcreate", "-y", *only, group, device)
            # lvcreate wants the kernel's device-mapper, which not every machine for tests has; describing a volume does not.
            sh("vgcfgbackup", *only, "-f", backup, group)
            text = backup.read_text().rstrip()
            backup.write_text(text[: text.rindex("}")] + VOLUMES + "}\n")
            sh("vgcfgrestore", *only, "--force", "-f", backup, group)
            with Path(device).open("r+b") as file:
                file.seek(MIB)  # where the first extent is, by default
                image = blank(path.with_suffix(".ext4"), 48)
                sh("mkfs.ext4", "-q", "-L", "root", image)
                file.write(image.read_bytes())
                file.seek(100 * MIB)
                file.write(os.urandom(8 * MIB))  # in extents that no volume has
        return disk

    def test_of_a_logical_volume_only_what_its_filesystem_uses(self, store: PathStore, tmp_path: Path) -> None:
        disk = self.disk(tmp_path / "m.raw")
        captured = capture(store, str(disk), "lab", "1")
        assert captured.warnings == []
        assert 2 * MIB < used(captured, 1) < 20 * MIB
        target = blank(tmp_path / "pc.raw", 132)
        with target.open("r+b") as file:
            file.seek(MIB + 49 * MIB - 8192)  # near the volume's end, a member of a RAID of an earlier life
            file.write(struct.pack("<II136xQ", 0xA92B4EFC, 1, (48 * MIB - 8192) // 512))
        assert [one.name for one in deploy(store, captured.index, str(target)).leftovers] == ["linux_raid_member"]
        assert not deploy(store, captured.index, str(target)).changed
        with partition(target, 1) as device:
            assert b"LVM2_member" in sh("blkid", "-p", device)
            volume = sh("dd", f"if={device}", "bs=1M", "skip=1", "count=48", "status=none")
        image = tmp_path / "volume.ext4"
        image.write_bytes(volume)
        sh("e2fsck", "-fn", image)

    def test_logical_volume_that_was_not_unmounted_is_refused(self, store: PathStore, tmp_path: Path) -> None:
        disk = self.disk(tmp_path / "m.raw")
        with partition(disk, 1) as device:
            volume = tmp_path / "volume.ext4"
            volume.write_bytes(sh("dd", f"if={device}", "bs=1M", "skip=1", "count=48", "status=none"))
            sh("debugfs", "-w", "-R", "set_super_value state 0", volume)
            with Path(device).open("r+b") as file:
                file.seek(MIB)
                file.write(volume.read_bytes())
        refused(store, disk, "logical volume root (ext4) was not unmounted cleanly")
        captured = capture(store, str(disk), "lab", "1", accept=["dirty"])
        assert "logical volume root (ext4) is captured whole: it is dirty" in captured.warnings[0]
        assert 48 * MIB <= used(captured, 1) < 60 * MIB

    def test_damaged_metadata_means_the_whole_with_a_warning(self, store: PathStore, tmp_path: Path) -> None:
        disk = self.disk(tmp_path / "m.raw")
        with partition(disk, 1) as device, Path(device).open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096)
        captured = capture(store, str(disk), "lab", "1")
        assert "captured whole" in captured.warnings[0]
        assert used(captured, 1) == 128 * MIB


class TestSectors:
    @pytest.fixture
    def disk_4k(self, tmp_path: Path) -> Iterator[str]:
        """A disk with sectors of 4096 bytes, and NTFS and ext4 on it."""
        file = blank(tmp_path / "4k.raw", 100)
        loop = sh("losetup", "--find", "--show", "--sector-size", "4096", file).decode().strip()
        try:
            sh("sfdisk", "--quiet", loop, data=f"label: gpt\nsize=40MiB, type={LINUX}\nsize=40MiB, type={DATA}\n".encode())
            image = blank(tmp_path / "fs", 40)
            sh("mkfs.ext4", "-q", "-b", "4096", image)
            sh("dd", f"if={image}", f"of={loop}", "bs=1M", "seek=1", "conv=notrunc", "status=none")
            yield loop
        finally:
            subprocess.run(["partx", "--delete", loop], check=False, capture_output=True)
            sh("losetup", "--detach", loop)

    def test_4k_disk_goes_to_a_4k_disk(self, store: PathStore, disk_4k: str, tmp_path: Path) -> None:
        captured = capture(store, disk_4k, "lab", "1")
        assert captured.index.sector_size == 4096
        before = hashlib.sha256(Path(disk_4k).read_bytes()).hexdigest()
        sh("dd", "if=/dev/zero", f"of={disk_4k}", "bs=1M", "count=30", "status=none")
        assert deploy(store, captured.index, disk_4k).changed
        assert hashlib.sha256(Path(disk_4k).read_bytes()).hexdigest() == before

    def test_4k_does_not_go_to_512(self, store: PathStore, disk_4k: str, tmp_path: Path) -> None:
        captured = capture(store, disk_4k, "lab", "1")
        other = blank(tmp_path / "512.raw", 100)
        with pytest.raises(ReimageError, match=r"sectors of 4096 bytes, and .* has 512"):
            deploy(store, captured.index, str(other))
        assert not any(other.read_bytes())

    def test_512_does_not_go_to_4k(self, store: PathStore, disk_4k: str, tmp_path: Path) -> None:
        master = make(tmp_path / "m.raw", 44, [("ext4", "root", 40, LINUX)])
        captured = capture(store, str(master), "lab", "1")
        before = hashlib.sha256(Path(disk_4k).read_bytes()).hexdigest()
        with pytest.raises(ReimageError, match=r"sectors of 512 bytes, and .* has 4096"):
            deploy(store, captured.index, disk_4k)
        assert hashlib.sha256(Path(disk_4k).read_bytes()).hexdigest() == before


class TestMirrors:
    @pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\x28\xb5\x2f\xfd")])
    def test_damaged_chunk_comes_from_elsewhere(
        self, captured: Store, target: Path, tmp_path: Path, damage: Callable[[Path], None]
    ) -> None:
        good = captured[0]
        shutil.copytree(good.root, tmp_path / "bad")
        bad = PathStore(tmp_path / "bad")
        region = next(region for region in captured[1].index.partitions if region.number == ROOT)
        damage(bad.root / chunk_path(read_ids(good, captured[1].index, region)[0]))
        with pytest.raises(ReimageError, match=r"cannot be had from .*bad"):
            deploy(bad, captured[1].index, str(target))
        assert deploy(bad, captured[1].index, str(target), mirrors=[good]).changed
        assert not deploy(good, captured[1].index, str(target)).changed


def test_discard_frees_what_the_image_does_not_use(captured: Store, target: Path) -> None:
    target.write_bytes(b"\xaa" * target.stat().st_size)
    before = target.stat().st_blocks
    deploy(captured[0], captured[1].index, str(target), discard=True)
    assert target.stat().st_blocks < before // 2
    assert not deploy(captured[0], captured[1].index, str(target)).changed
