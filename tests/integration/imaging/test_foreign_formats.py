# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people try to import: disks in one file, packed in every way, and folders of other times. It works, or says what to do."""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
import tarfile
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign import compressed
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.disk import work_disk
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.transfer import check_source, export_image, import_image
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from .conftest import MIB, blank, contents, deploy, sh

# A size that is no whole number of cylinders.
SIZE = 7 * MIB + 512 * 100
CLONEZILLA = "clonezilla"
# The partitions of the old disk: number, start and size in sectors.
PLACES = [(1, 2048, 2048), (2, 4096, 8192), (5, 5120, 2048), (6, 9216, 1024)]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small disk with two partitions of plain bytes, which no tool has to look at."""
    path = tmp_path_factory.mktemp("disk") / "pc.raw"
    path.touch()
    os.truncate(path, SIZE)
    sh("sfdisk", "--quiet", path, data=b"label: gpt\nstart=2048, size=4096\nstart=6144, size=6144\n")
    with path.open("r+b") as file:
        for start in (2048, 6144):
            file.seek(start * 512)
            file.write(contents(MIB, str(start)))
    return path


@pytest.fixture(scope="module")
def old_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small MBR disk with logical partitions."""
    path = blank(tmp_path_factory.mktemp("old") / "old.raw", 8)
    table = b"label: dos\nstart=2048, size=2048\nstart=4096, size=8192, type=5\nstart=5120, size=2048\nstart=9216, size=1024\n"
    sh("sfdisk", "--quiet", path, data=table)
    return path


@pytest.fixture
def store(tmp_path: Path) -> PathStore:
    (tmp_path / "store").mkdir()
    return PathStore(tmp_path / "store")


def refused(store: PathStore, source: Path, said: str) -> None:
    """It is refused with one clear sentence that names the source and no temporary file, and nothing is written to the store."""
    with pytest.raises(ReimageError, match=said) as caught:
        import_image(store, "refused", "1", source)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700
    assert str(source) in message
    assert not re.search(r"/dev/loop|reimage-|json:|\d%|Usage", message)
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def convert(disk: Path, target: Path, kind: str, *options: str) -> Path:
    sh("qemu-img", "convert", "-O", kind, *options, disk, target)
    return target


def packed(*command: str) -> Callable[[Path, Path], Path]:
    def pack(disk: Path, folder: Path) -> Path:
        (folder / "pc.packed").write_bytes(sh(*command, disk))
        return folder / "pc.packed"

    return pack


def parallel_gzip(disk: Path, folder: Path) -> Path:
    """As several independent streams."""
    (folder / "pc.gz").write_bytes(
        sh("gzip", "-c", data=disk.read_bytes()[:MIB]) + sh("gzip", "-c", data=disk.read_bytes()[MIB:])
    )
    return folder / "pc.gz"


def ova(disk: Path, folder: Path, *, kind: str = "vmdk", options: tuple[str, ...] = ("-o", "subformat=streamOptimized")) -> Path:
    inner = convert(disk, folder / f"vm-disk1.{kind}", kind, *options)
    (folder / "vm.ovf").write_text("<Envelope/>")
    digest = sh("sha256sum", inner).decode().split()[0]
    (folder / "vm.mf").write_text(f"SHA256(vm.ovf)= {'0' * 64}\nSHA256(vm-disk1.{kind})= {digest}\n")
    sh("tar", "--format=ustar", "-C", folder, "-cf", folder / "vm.ova", "vm.ovf", "vm.mf", inner.name)
    return folder / "vm.ova"


def ova_with_qcow2(disk: Path, folder: Path) -> Path:
    return ova(disk, folder, kind="qcow2", options=())


def ova_with_vhd(disk: Path, folder: Path) -> Path:
    return ova(disk, folder, kind="vpc", options=("-o", "subformat=fixed,force_size=on"))


def compressed_ova(disk: Path, folder: Path) -> Path:
    sh("gzip", ova(disk, folder))
    return folder / "vm.ova.gz"


def dynamic_vhd(disk: Path, folder: Path) -> Path:
    return convert(disk, folder / "pc.vhd", "vpc", "-o", "force_size=on")


def fixed_vhd(disk: Path, folder: Path) -> Path:
    return convert(disk, folder / "pc.vhd", "vpc", "-o", "subformat=fixed,force_size=on")


def vhd_of_virtualbox(disk: Path, folder: Path) -> Path:
    """Its disks have any size, and QEMU counts their cylinders."""
    path = dynamic_vhd(disk, folder)
    data = bytearray(path.read_bytes())
    for at in (0, len(data) - 512):
        data[at + 28 : at + 32], data[at + 64 : at + 68] = b"vbox", bytes(4)
        # Cylinders, heads and sectors: the last whole cylinder of this disk ends before its last sector.
        data[at + 56 : at + 60] = struct.pack(">HBB", SIZE // 512 // (4 * 17), 4, 17)
        data[at + 64 : at + 68] = struct.pack(">I", ~sum(data[at : at + 512]) & 0xFFFFFFFF)
    path.write_bytes(data)
    assert f"({SIZE} bytes)" not in sh("qemu-img", "info", path).decode()
    return path


def compressed_qcow2(disk: Path, folder: Path) -> Path:
    sh("gzip", convert(disk, folder / "pc.qcow2", "qcow2"))
    return folder / "pc.qcow2.gz"


def raw_of_fog(disk: Path, folder: Path) -> Path:
    """What FOG makes of a disk of type "raw", with the same commands."""
    command = f"partclone.imager -c -s {disk} -O /dev/stdout -N -f 1 -a0 -L {folder}/log 2>/dev/null | zstdmt -3 > {folder}/raw"
    sh("bash", "-o", "pipefail", "-c", command.replace(" -N", ""))
    return folder / "raw"


def split_raw_of_fog(disk: Path, folder: Path) -> Path:
    (folder / "images").mkdir()
    sh("split", "-a", "3", "-d", "-b", "50k", raw_of_fog(disk, folder), folder / "images/lab.")
    assert (folder / "images/lab.001").exists()
    with pytest.raises(ReimageError, match=r"name that as the source: .*/lab\.000$"):
        check_source(folder / "images", "auto")
    return folder / "images/lab.000"


WORK: list[Callable[[Path, Path], Path]] = [
    packed("gzip", "-c"), packed("zstd", "-qc"), packed("xz", "-c"), packed("bzip2", "-c"), packed("lz4", "-qc"),
    packed("lzma", "-c"), parallel_gzip, ova, ova_with_qcow2, ova_with_vhd, compressed_ova, dynamic_vhd, fixed_vhd,
    vhd_of_virtualbox, compressed_qcow2, raw_of_fog, split_raw_of_fog,
]  # fmt: skip


@pytest.mark.parametrize("make", WORK)
def test_disk_in_a_file_becomes_the_same_image(
    disk: Path, store: PathStore, tmp_path: Path, make: Callable[[Path, Path], Path]
) -> None:
    source = make(disk, tmp_path)
    check_source(source, "auto")
    index = import_image(store, "pc", "1", source, work_folder=str(tmp_path)).index
    assert index.disk_size == SIZE
    found = deploy(store, index, str(disk), dry_run=True)
    assert (found.changed, found.differing) == (False, [])
    assert list(tmp_path.glob("reimage-*")) == []


def encrypted(disk: Path, folder: Path) -> Path:
    """By its header only: QEMU takes seconds to derive a key."""
    path = convert(disk, folder / "secret.qcow2", "qcow2")
    with path.open("r+b") as file:
        file.seek(32)
        file.write(struct.pack(">I", 1))
    return path


def differencing_vhd(disk: Path, folder: Path) -> Path:
    path = dynamic_vhd(disk, folder)
    data = bytearray(path.read_bytes())
    for at in (0, len(data) - 512):
        data[at + 60 : at + 64] = struct.pack(">I", 4)
    path.write_bytes(data)
    return path


def cut(make: Callable[[Path, Path], Path], size: int) -> Callable[[Path, Path], Path]:
    def work(disk: Path, folder: Path) -> Path:
        path = make(disk, folder)
        os.truncate(path, size)
        return path

    return work


def damaged_ova(disk: Path, folder: Path) -> Path:
    path = ova(disk, folder)
    with tarfile.open(path) as archive:
        at = archive.getmember("vm-disk1.vmdk").offset_data
    with path.open("r+b") as file:
        file.seek(at + 80_000)
        file.write(b"damaged!")
    return path


def archive(*names: str) -> Callable[[Path, Path], Path]:
    def make(disk: Path, folder: Path) -> Path:
        ova(disk, folder)
        shutil.copy(folder / "vm-disk1.vmdk", folder / "vm-disk2.vmdk")
        sh("tar", "-C", folder, "-cf", folder / "made.tar", *names)
        return folder / "made.tar"

    return make


def twice(disk: Path, folder: Path) -> Path:
    return packed("zstd", "-qc")(packed("gzip", "-c")(disk, folder).rename(folder / "pc.gz"), folder)


def filesystem(*command: str) -> Callable[[Path, Path], Path]:
    def make(_disk: Path, folder: Path) -> Path:
        sh(*command, blank(folder / "part.raw", 40))
        return folder / "part.raw"

    return make


def partition_image(_disk: Path, folder: Path) -> Path:
    sh("mkfs.ext4", "-q", blank(folder / "part.raw", 8))
    sh("partclone.ext4", "-c", "-s", folder / "part.raw", "-O", folder / "part.img", "-L", folder / "log")
    return folder / "part.img"


def mark(data: bytes) -> Callable[[Path, Path], Path]:
    def make(_disk: Path, folder: Path) -> Path:
        (folder / "source").write_bytes(data.ljust(MIB, b"\0"))
        return folder / "source"

    return make


WHOLE = "put that into a partition of another disk"
REFUSED: list[tuple[Callable[[Path, Path], Path], str]] = [
    (lambda disk, folder: convert(disk, folder / "pc.qed", "qed"), r"is a QED disk, .*qemu-img convert"),
    (lambda disk, folder: convert(disk, folder / "pc.hds", "parallels"), r"is a disk of Parallels, .*qemu-img convert"),
    (encrypted, r"is encrypted: make a copy that is not"),
    (differencing_vhd, r"is no disk of its own, only what differs from another VHD"),
    (cut(dynamic_vhd, 3000), r"is truncated: its last 512 bytes"),
    (cut(ova, 150_000), r"is truncated: 'vm-disk1.vmdk' in it"),
    (cut(packed("lz4", "-qc"), 9000), r"ends too early"),
    (cut(packed("gzip", "-c"), 9000), r"ends too early"),
    (cut(compressed_ova, 90_000), r"ends too early"),
    (damaged_ova, r"is damaged: 'vm-disk1.vmdk' in it has another SHA256"),
    (archive("vm.ovf", "vm-disk1.vmdk", "vm-disk2.vmdk"), r"holds 2 disks .*vm-disk1.*vm-disk2.*an image is of one"),
    (archive("vm.ovf"), r"holds no disks that are read here"),
    (archive("vm-disk1.vmdk"), r"is a tar archive, and none of a virtual machine"),
    (twice, r"is compressed twice"),
    (partition_image, r"is partclone's image of one partition \('extfs'\)"),
    (filesystem("mkfs.vfat"), rf"table is empty: it holds vfat itself; {WHOLE}"),
    (filesystem("mkfs.ntfs", "-F", "-Q", "-q"), rf"table is empty: it holds ntfs itself; {WHOLE}"),
    (filesystem("mkfs.exfat"), rf"table is empty: it holds exfat itself; {WHOLE}"),
    (filesystem("mkfs.ext4", "-q"), rf"no partition table: it holds ext4 itself; {WHOLE}"),
    (mark(b"MSWIM\0\0\0"), r"is a WIM, which holds files"),
    (mark(b"PK\3\4"), r"is a ZIP archive, .*unpack it"),
    (mark(b""), r"no partition table"),
    (lambda _disk, folder: Path(shutil.copy("/etc/hostname", folder)), r"has \d+ bytes, and the smallest disk has more"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), REFUSED)
def test_what_is_no_disk_of_its_own_is_refused_by_name(
    disk: Path, store: PathStore, tmp_path: Path, make: Callable[[Path, Path], Path], said: str
) -> None:
    refused(store, make(disk, tmp_path), said)


def test_ova_reads_nothing_beside_it(disk: Path, store: PathStore, tmp_path: Path) -> None:
    """A disk in an archive that names another file, and members with paths that lead out of it."""
    text = '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
    text += f'RW {SIZE // 512} FLAT "{disk}" 0\n'
    (tmp_path / "vm.ovf").write_text("<Envelope/>")
    (tmp_path / "vm.vmdk").write_text(text.ljust(1024))
    sh("tar", "-C", tmp_path, "-cf", tmp_path / "vm.ova", "vm.ovf", "vm.vmdk")
    refused(store, tmp_path / "vm.ova", r"vm\.ova (is not a|is not a disk of its own|cannot be opened)")
    ova(disk, tmp_path)
    sh("tar", "-P", "-C", tmp_path, "--transform", "s,^,../../,", "-cf", tmp_path / "out.ova", "vm.ovf", "vm-disk1.vmdk")
    assert import_image(store, "pc", "1", tmp_path / "out.ova").index.disk_size == SIZE
    assert not (tmp_path.parent.parent / "vm.ovf").exists()


def test_what_is_larger_than_any_disk_is_not_unpacked_to_its_end(
    store: PathStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is made lower, for it would take hours to reach."""
    monkeypatch.setattr(compressed, "LARGEST_DISK", 64 * MIB)
    (tmp_path / "bomb").write_bytes(sh("zstd", "-qc", data=bytes(16 * MIB)) * 5)
    refused(store, tmp_path / "bomb", r"holds more than 64 MiB, which no disk has: it is damaged")


def test_lines_of_a_table_in_any_order(old_disk: Path, tmp_path: Path) -> None:
    """sfdisk numbers logical partitions as they come; before 2014 it printed unused entries too."""
    lines = sh("sfdisk", "--dump", old_disk).decode().replace(str(old_disk), "/dev/nvme0n1p").splitlines()
    rows = [line for line in lines if "start=" in line] + ["/dev/nvme0n1p3 : start=        0, size=        0, Id= 0"]
    chance = random.Random(12)
    for _time in range(5):
        chance.shuffle(rows)
        with work_disk(str(tmp_path)) as work:
            work.write_table("\n".join([*(line for line in lines if line not in rows), *rows, ""]), 0, "pt.sf")
            assert [(one.number, one.start // 512, one.size // 512) for one in work.partitions()] == PLACES


def test_table_of_which_sfdisk_makes_another_one(old_disk: Path, tmp_path: Path) -> None:
    """A logical partition before the ones with lower numbers, which C(sfdisk) puts into another place."""
    text = sh("sfdisk", "--dump", old_disk).decode().replace(str(old_disk), "/dev/sda").replace("/dev/sda6", "/dev/sda7")
    with work_disk(str(tmp_path)) as work, pytest.raises(ReimageError, match=r"pt\.sf is .*: sfdisk makes another one of it"):
        work.write_table(text, 0, "pt.sf")


@pytest.mark.parametrize(("tool", "ending"), [("lz4", "lz4"), ("lzma", "lzma"), ("xz", "xz")])
def test_clonezillas_folder_with_other_compression(disk: Path, store: PathStore, tmp_path: Path, tool: str, ending: str) -> None:
    """As C(ocs-sr -z8), C(-z4) and C(-z5) name and make the files."""
    export_image(store, capture(store, str(disk), "pc", "1").index, tmp_path / "folder", CLONEZILLA)
    (tmp_path / "folder/SHA1SUMS").unlink()
    for path in (tmp_path / "folder").glob("*.zst.aa"):
        path.with_name(path.name.replace(".zst.aa", f".{ending}")).write_bytes(sh(tool, "-c", data=sh("zstd", "-dqc", path)))
        path.unlink()
    index = import_image(store, "pc", "2", tmp_path / "folder").index
    found = deploy(store, index, str(disk), dry_run=True)
    assert (found.changed, found.differing) == (False, [])


def test_clonezillas_folder_of_a_gpt_from_when_sfdisk_knew_none(disk: Path, store: PathStore, tmp_path: Path) -> None:
    export_image(store, capture(store, str(disk), "pc", "1").index, tmp_path / "folder", CLONEZILLA)
    (tmp_path / "folder/SHA1SUMS").unlink()
    last = SIZE // 512 - 1
    old = f"# partition table of /dev/sda\nunit: sectors\n\n/dev/sda1 : start=        1, size= {last}, Id=ee\n"
    (tmp_path / "folder/sda-pt.sf").write_text(old)
    index = import_image(store, "pc", "2", tmp_path / "folder").index
    assert index.disk_size == SIZE
    found = deploy(store, index, str(disk), dry_run=True)
    assert (found.changed, found.differing) == (False, [])


def test_folders_that_do_not_hold_a_disk_say_what_to_do(disk: Path, store: PathStore, tmp_path: Path) -> None:
    export_image(store, capture(store, str(disk), "pc", "1").index, tmp_path / "folder", CLONEZILLA)
    folder, empty = tmp_path / "folder", PathStore(tmp_path / "empty")
    empty.root.mkdir()
    for name in ("SHA1SUMS", "disk", *(path.name for path in folder.glob("sda2.*"))):
        (folder / name).unlink()
    (folder / "parts").write_text("sda1\n")
    refused(empty, folder, r"partition sda2 is missing: .*by saveparts, .*savedisk")
    for names, said in (
        (["sys.img.000", "rec.img.000"], r"is of an old FOG that kept no partition table"),
        (["d1.img"], r"holds a disk in one file: name that as the source, .*d1\.img"),
        (["lab"], r"none that Clonezilla or FOG made; if the disk is in a file, name that as the source: .*/lab$"),
    ):
        shutil.rmtree(folder)
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(b"x")
        refused(empty, folder, said)
