# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real disks, image folders and disk files, changed at random: each is taken, or refused with one clear error.

C(make fuzz) tries many more than the few that are tried here.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import resource
import shutil
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.disk.errors import DiskError
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import UnmappedError
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import Mapped
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import FILESYSTEMS, filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.front_mbr import FrontMbr
from ansible_collections.reimage.lab.plugins.module_utils.disk.gpt import from_backup
from ansible_collections.reimage.lab.plugins.module_utils.disk.lvm import volumes
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.transfer import export_image, import_image
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from .conftest import MIB, blank, partition, sh

TIMES = int(os.environ.get("REIMAGE_FUZZ", "1"))
SEED = int(os.environ.get("REIMAGE_FUZZ_SEED", "2026"))
MOST_MEMORY = 400 << 10  # KiB that a test may add
SECTOR = 512
Mutation = Callable[[random.Random, Path], None]


def change(chance: random.Random, data: bytearray, first: int, end: int) -> None:
    """Change a few bytes or numbers between two places."""
    for _time in range(chance.randint(1, 4)):
        at = chance.randrange(first, max(first + 1, min(end, len(data))))
        odd = [0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1, chance.getrandbits(64)]
        piece = chance.choice(odd).to_bytes(8, "little")[: chance.choice([1, 1, 4, 8])]
        data[at : at + len(piece)] = piece[: len(data) - at]


def change_mbr(chance: random.Random, disk: Path) -> None:
    """Change the table in the first sector, or one of a logical partition."""
    data = bytearray(disk.read_bytes())
    for _time in range(chance.randint(1, 3)):
        at = chance.choice([0, 4096, 9216 - 1024]) * SECTOR
        change(chance, data, at + 446, at + 512 if chance.random() < 0.1 else at + 510)
    disk.write_bytes(data)


def change_gpt(chance: random.Random, disk: Path) -> None:
    """Change header or entries of one GPT or both; mostly with checksums that are right again."""
    data = bytearray(disk.read_bytes())
    right = chance.random() < 0.7
    for header, entries in [(1, 2), (len(data) // SECTOR - 1, len(data) // SECTOR - 33)][: chance.choice([1, 2])]:
        at = header * SECTOR
        if chance.random() < 0.5:
            change(chance, data, at + 8, at + 92)
        else:
            change(chance, data, entries * SECTOR, entries * SECTOR + 3 * 128)
        if right:
            data[at + 88 : at + 92] = struct.pack("<I", zlib.crc32(data[entries * SECTOR : entries * SECTOR + 128 * 128]))
            data[at + 16 : at + 20] = bytes(4)
            data[at + 16 : at + 20] = struct.pack("<I", zlib.crc32(data[at : at + 92]))
    if chance.random() < 0.1:
        del data[chance.randrange(len(data)) :]
    disk.write_bytes(data)


def change_lvm(chance: random.Random, disk: Path) -> None:
    """Change the text that describes the logical volumes, with a checksum that is right again, or the label before it."""
    data = bytearray(disk.read_bytes())
    start = 2048 * SECTOR
    if chance.random() < 0.3:
        change(chance, data, start + SECTOR, start + SECTOR + 200)
    else:
        area = start + 4096
        offset, size = struct.unpack_from("<QQ", data, area + 40)
        text = data[area + offset : area + offset + size - 1].decode()
        numbers = [found.span() for found in re.finditer(r"\b\d+\b", text)]
        first, end = chance.choice(numbers)
        odd = [0, 1, 7, 1 << 20, (1 << 31) - 1, 1 << 40, (1 << 64) - 1]
        text = text[:first] + str(chance.choice(odd)) + text[end:] if chance.random() < 0.8 else text[:first] + text[end + 40 :]
        changed = text.encode() + b"\0"
        data[area + offset : area + offset + len(changed)] = changed
        struct.pack_into("<QQI", data, area + 40, offset, len(changed), lvm_crc(changed))
        struct.pack_into("<I", data, area, lvm_crc(data[area + 4 : area + SECTOR]))
    disk.write_bytes(data)


def lvm_crc(data: bytes) -> int:
    """LVM's checksum is the common one, from another first value and without the last inversion."""
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def change_folder(chance: random.Random, folder: Path) -> None:
    """Change, cut, lose, swap or copy files, or a line or number in one."""
    (folder / "SHA1SUMS").unlink(missing_ok=True)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for _time in range(chance.randint(1, 2)):
        path, other = chance.choice(files), chance.choice(files)
        data = bytearray(path.read_bytes()) if path.exists() else bytearray()
        kind = chance.choice(["bytes", "line", "line", "number", "number", "number", "cut", "lose", "swap"])
        if kind == "lose":
            path.unlink(missing_ok=True)
        elif kind == "swap" and other.exists():
            path.write_bytes(other.read_bytes())
        elif kind == "cut" and data:
            path.write_bytes(data[: chance.randrange(len(data))])
        elif kind in ("line", "number") and data and len(data) < 20_000 and b"\0" not in data:
            path.write_text(change_text(chance, data.decode(errors="replace"), kind))
        elif data:
            change(chance, data, 0, len(data))
            path.write_bytes(data)


def change_text(chance: random.Random, text: str, kind: str) -> str:
    lines = text.splitlines()
    at = chance.randrange(len(lines)) if lines else 0
    numbers = list(re.finditer(r"\d+", text))
    if kind == "number" and numbers:
        found = chance.choice(numbers)
        odd = [
            "0",
            "1",
            "-1",
            "4294967295",
            "9" * 30,
            "9" * 5000,
            "1e9",
            "x",
            "",
            str(int(found[0][:9] or 0) + chance.choice([-1, 1, 2048])),
        ]
        return text[: found.start()] + chance.choice(odd) + text[found.end() :]
    if lines:
        lines[at : at + 1] = chance.choice([[], [lines[at]] * 2, [lines[at][: len(lines[at]) // 2]], ["x" * 3000], lines[::-1]])
    return "\n".join(lines) + "\n"


def change_head(chance: random.Random, file: Path) -> None:
    """Change what describes a disk file, or cut it."""
    data = bytearray(file.read_bytes())
    change(chance, data, 0, chance.choice([64, 600, 4096, len(data)]))
    if chance.random() < 0.15:
        del data[chance.randrange(1, len(data)) :]
    file.write_bytes(data)


VOLUME = """%s {
id = "%.4sAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA"
status = ["READ", "WRITE", "VISIBLE"]
segment_count = 1
segment1 {
start_extent = 0
extent_count = 3
type = "striped"
stripe_count = 1
stripes = ["pv0", %d]
}
}
"""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small disks of each kind, their folders, and disk files."""
    folder = tmp_path_factory.mktemp("material")
    tables = {
        "mbr": b"label: dos\nsize=2048\nstart=4096, size=8192, type=5\nstart=5120, size=2048\nstart=9216, size=1024\n",
        "gpt": b"label: gpt\nstart=2048, size=2048\nstart=4096, size=4096\nstart=8192, size=2048\n",
        "lvm": b"label: gpt\nstart=2048, size=16384\n",
    }
    for name, table in tables.items():
        sh("sfdisk", "--quiet", blank(folder / name, 10), data=table)
    metadata(folder / "lvm")
    store = PathStore(folder)
    index = capture(store, str(folder / "mbr"), "pc", "1").index
    for kind in ("clonezilla", "fog"):
        export_image(store, index, folder / kind, kind)
    for kind in ("qcow2", "vdi", "vhdx", "vpc"):
        sh("qemu-img", "convert", "-O", kind, folder / "gpt", folder / f"{kind}.file")
    sh("qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", folder / "gpt", folder / "vmdk.file")
    (folder / "vm.ovf").write_text("<Envelope/>")
    sh("tar", "-C", folder, "-cf", folder / "ova.file", "vm.ovf", "vmdk.file")
    for tool in ("gzip", "zstd", "lz4"):
        (folder / f"{tool}.file").write_bytes(sh(tool, "-c", folder / "gpt"))
    return folder


def metadata(disk: Path) -> None:
    """Make a physical volume by LVM itself. Its logical ones are only described, for making them takes the device mapper."""
    with partition(disk, 1) as device:
        only = ["--config", f'devices {{ filter=["a|^{device}$|","r|.*|"] use_devicesfile=0 }}']
        group, backup = f"fuzz{os.getpid()}", disk.with_suffix(".vg")
        sh("pvcreate", "-y", *only, device)
        sh("vgcreate", "-y", "-s", "1m", *only, group, device)
        sh("vgcfgbackup", *only, "-f", backup, group)
        text = backup.read_text().rstrip()
        volumes = "".join(VOLUME % (name, name, at) for name, at in (("root", 0), ("home", 3)))
        backup.write_text(f"{text[: text.rindex('}')]}logical_volumes {{\n{volumes}}}\n}}\n")
        sh("vgcfgrestore", *only, "--force", "-f", backup, group)


def digest(path: Path) -> str:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()


def take(store: PathStore, source: Path, *, folder: bool) -> str:
    """Return the error of a source or the warnings of its capture, nothing if it was taken as it is."""
    before = digest(source)
    try:
        if folder:
            import_image(store, "fuzz", "1", source, work_folder=str(source.parent))
            shutil.rmtree(store.root)
            store.root.mkdir()
        else:
            return "; ".join(capture(store, str(source), "fuzz", "1", dry_run=True).warnings)
        said = ""
    except ReimageError as error:
        said = str(error)
        assert "\n" not in said and len(said) < 1500, said
        assert not re.search(r"/dev/loop\d|Traceback|Usage:|reimage-\w{8}/|json:\{", said), said
        assert [path for path in store.root.rglob("*") if path.is_file()] == [], said
    finally:
        assert digest(source) == before
    assert list(source.parent.glob("reimage-*")) == []
    return said


def with_copy_only(disk: Path, change: Callable[[bytearray, int, int], None]) -> Path:
    """Damage the GPT at a disk's beginning, and change the copy at its end, given the places of its header and entries."""
    data = bytearray(disk.read_bytes())
    header, entries = len(data) - SECTOR, len(data) - 33 * SECTOR
    data[SECTOR + 20] ^= 1
    change(data, header, entries)
    data[header + 88 : header + 92] = struct.pack("<I", zlib.crc32(data[entries : entries + 128 * 128]))
    data[header + 16 : header + 20] = bytes(4)
    data[header + 16 : header + 20] = struct.pack("<I", zlib.crc32(data[header : header + 92]))
    disk.write_bytes(data)
    return disk


def test_partition_that_begins_in_the_table_is_refused(material: Path, tmp_path: Path) -> None:
    def add(data: bytearray, _header: int, entries: int) -> None:
        data[entries + 3 * 128 : entries + 4 * 128] = data[entries : entries + 32] + bytes(96)

    disk = with_copy_only(Path(shutil.copy(material / "gpt", tmp_path)), add)
    (tmp_path / "store").mkdir()
    assert "a partition begins in the partition table, at byte 0" in take(PathStore(tmp_path / "store"), disk, folder=False)


def test_copy_of_a_table_whose_entries_are_beyond_any_disk() -> None:
    """sfdisk looks at the first table, which the engine may not believe."""
    places = (99, 1, 34, 66, bytes(16), (1 << 64) - 1)
    header = bytearray(struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, *places, 128, 128, 0))
    header[16:20] = struct.pack("<I", zlib.crc32(header))
    with pytest.raises(DiskError, match=r"both copies .* are damaged: the one at the end leads out of the disk"):
        from_backup(bytes(MIB), SECTOR, 100 * SECTOR, lambda _offset, length: bytes(header).ljust(length, b"\0"))


@pytest.mark.parametrize("name", sorted(FILESYSTEMS))
def test_filesystem_of_which_nothing_but_the_mark_is_there(tmp_path: Path, name: str) -> None:
    """blkid knows some by their first bytes, so the rest may be missing, or be anything."""
    found = filesystem(name)
    # partclone bears it, but waits for seconds.
    questions = [found.length, found.member, found.unfit, *([] if isinstance(found, Mapped) else [found.map])]
    for number, data in enumerate((bytes(SECTOR), bytes(2048), b"\xff" * 4096)):
        device = tmp_path / str(number)
        device.write_bytes(data)
        for ask in questions:
            with suppress(ReimageError):
                ask(str(device))


def test_fat_that_claims_more_clusters_than_any_has(tmp_path: Path) -> None:
    """Its table would not fit into memory, though the disk is sparse, and so a file of a few kilobytes that was unpacked."""
    disk, tables, sectors = tmp_path / "fat", 1 << 25, (1 << 32) - 1
    boot = struct.pack("<11xHBHBHHBH8xII", SECTOR, 1, 1, 1, 0, 0, 0xF8, 0, sectors, tables)
    disk.write_bytes(boot.ljust(SECTOR, b"\0"))
    os.truncate(disk, sectors * SECTOR)
    with pytest.raises(UnmappedError, match="table of clusters does not fit"):
        filesystem("vfat").map(str(disk))
    assert filesystem("vfat").unfit(str(disk)) is None


@pytest.mark.parametrize(("place", "items"), [(0, 0), (0, 1), ((1 << 64) - 1, 0)])
def test_btrfs_whose_few_nodes_lead_to_each_other_or_out_of_any_disk(tmp_path: Path, place: int, items: int) -> None:
    """Seven nodes of a hundred pointers each, all to the next; the last one has nothing, or the same thing again and again."""
    disk, node, size = tmp_path / "btrfs", 4096, 1 << 43
    chunk = struct.pack("<QBQ QQQQIIIHH QQ16s", 256, 228, 0, size, 2, 65536, 2, 4096, 4096, 4096, 1, 0, 1, place, bytes(16))
    superblock = bytearray(4096)
    struct.pack_into("<QQQ", superblock, 0x50, MIB, MIB, 0)
    struct.pack_into("<QIIIII", superblock, 0x88, 1, 4096, node, node, 4096, len(chunk))
    struct.pack_into("<QQ", superblock, 0xC9, 1, size)
    superblock[0x32B : 0x32B + len(chunk)] = chunk
    pieces = {64 << 10: bytes(superblock)}
    for level in range(7, -1, -1):
        at = MIB + (7 - level) * node
        head = bytes(48) + struct.pack("<Q24xQQIB", at, 1, 3, 100 if level else items, level)
        leaf = struct.pack("<QBQII", 256, 228, 0, 3000, len(chunk) - 17).ljust(3000, b"\0") + chunk[17:]
        pieces[at] = head + (struct.pack("<QBQQQ", 256, 228, 0, at + node, 1) * 100 if level else leaf)
    with disk.open("wb") as file:
        for at, data in pieces.items():
            file.seek(at)
            file.write(data)
        file.truncate(size)
    with pytest.raises(UnmappedError, match="its trees make no sense"):
        filesystem("btrfs").map(str(disk))


def test_hybrid_mbr_that_leads_beyond_what_it_can_say() -> None:
    head = bytearray(SECTOR)
    entries = ((0x83, 0xFFFFFFF0, 0xFFFFFFFF), (0xEE, 0xFFFFFFFF, 1))
    for slot, (kind, start, sectors) in enumerate(entries):
        struct.pack_into("<4xB3xII", head, 446 + 16 * slot, kind, start, sectors)
    FrontMbr(bytes(head), lambda _span: 0).write(head, lambda _number: (0, 0), 1 << 20, 1 << 21)
    assert struct.unpack_from("<4xB3xII", head, 446 + 16) == (0xEE, 0xFFFFFFFF, 1)


def described(material: Path, disk: Path, lost: bytes, instead: bytes) -> Path:
    """Make a disk whose LVM describes itself in other words of the same length."""
    data = bytearray((material / "lvm").read_bytes())
    area = 2048 * SECTOR + 4096
    offset, size = struct.unpack_from("<QQ", data, area + 40)
    text = bytes(data[area + offset : area + offset + size]).replace(lost, instead)
    data[area + offset : area + offset + size] = text
    struct.pack_into("<QQI", data, area + 40, offset, size, lvm_crc(text))
    struct.pack_into("<I", data, area, lvm_crc(data[area + 4 : area + SECTOR]))
    disk.write_bytes(data)
    return disk


@pytest.mark.parametrize(("lost", "instead"), [(b"stripes = ", b"strides = "), (b"extent_count = ", b"extent_reach = ")])
def test_logical_volume_that_does_not_say_where_it_is(material: Path, tmp_path: Path, lost: bytes, instead: bytes) -> None:
    disk = described(material, tmp_path / "lvm", lost, instead)
    assert "or its description makes no sense" in take(PathStore(tmp_path / "store"), disk, folder=False)


def test_logical_volume_without_a_size_is_not_looked_at(material: Path, tmp_path: Path) -> None:
    """libblkid would take no size for all that is behind."""
    place = (2048 * SECTOR, 16384 * SECTOR)
    assert len(volumes(str(described(material, tmp_path / "sound", b"", b"")), *place)) == 2
    assert volumes(str(described(material, tmp_path / "lvm", b"extent_size = 2048", b"extent_size = 0000")), *place) == []


CASES: list[tuple[str, Mutation, int]] = [
    ("mbr", change_mbr, 25), ("gpt", change_gpt, 25), ("lvm", change_lvm, 20), ("clonezilla", change_folder, 6),
    ("fog", change_folder, 6), ("qcow2.file", change_head, 4), ("vdi.file", change_head, 3), ("vhdx.file", change_head, 3),
    ("vpc.file", change_head, 4), ("vmdk.file", change_head, 4), ("ova.file", change_head, 5), ("gzip.file", change_head, 3),
    ("zstd.file", change_head, 3), ("lz4.file", change_head, 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "mutate", "count"), CASES)
def test_changed_at_random_it_is_taken_or_refused_with_one_error_and_nothing_written(
    material: Path, tmp_path: Path, name: str, mutate: Mutation, count: int
) -> None:
    store, source = PathStore(tmp_path / "store"), tmp_path / name
    store.root.mkdir()
    chance = random.Random(f"{SEED}{name}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    remarks = 0
    for number in range(count * TIMES):
        if (material / name).is_dir():
            shutil.rmtree(source, ignore_errors=True)
            shutil.copytree(material / name, source)
        else:
            shutil.copy(material / name, source)
        mutate(chance, source)
        try:
            said = take(store, source, folder=(material / name).is_dir() or name.endswith(".file"))
        except BaseException:
            if os.environ.get("REIMAGE_FUZZ_KEEP"):
                kept = Path(os.environ["REIMAGE_FUZZ_KEEP"], f"{name}-{SEED}-{number}")
                shutil.copytree(source, kept) if source.is_dir() else shutil.copy(source, kept)
            raise
        remarks += bool(said)
    assert remarks or count < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MOST_MEMORY
