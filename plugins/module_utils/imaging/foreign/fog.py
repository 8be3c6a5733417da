# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""FOG's image folders, with one disk, resizable or fixed.

Source: C(funcs.sh), C(partition-funcs.sh) and C(fog.upload) of FOGProject/fos, August 2026.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.ext import Ext
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import kept_by_partclone
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign import partclone
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.disk import SECTOR, Partition, WorkDisk
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.streams import Parts, SplitWriter, sniff, unpacked
from ansible_collections.reimage.lab.plugins.module_utils.imaging.own_files import open_file

Count = Callable[[int], None]
_PART = re.compile(r"d(\d+)p(\d+)\.img(?:\.(\d{3}))?")
_SWAP = re.compile(r"^(?:\S*[a-z])?(\d{1,3})\s+([0-9A-Fa-f-]{36})\s*$", re.MULTILINE)
# The minimum is what the partitions were shrunk to; alone, it still says where they are.
_TABLES = ("d1.partitions", "d1.original.partitions", "d1.minimum.partitions")
_OLD = ("sys.img", "sys.img.000", "rec.img.000")
_WHOLE = "d1.img"
_LARGEST_TEXT = 1 << 20
_GPT_SIGNATURE = b"EFI PART"
_LARGEST_HEAD = 2048 * SECTOR
# Where the first partition begins at one of these sectors, FOG saves the first sector only.
_MBR_ALONE = (8, 63)
# FOG wants one file; only its own splitting makes several.
_NO_SPLIT = 1 << 62


def is_folder(folder: Path) -> bool:
    """Return whether a folder looks like one that FOG made."""
    return any((folder / name).exists() for name in ("d1.mbr", *_TABLES, *_OLD, _WHOLE))


class Folder:
    """A folder that FOG captured a disk to. Making the object checks that the files for the disk are there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._images: dict[int, list[tuple[str, Path]]] = {}
        for path in folder.iterdir():
            match = _PART.fullmatch(path.name)
            if match and match[1] == "1":
                self._images.setdefault(int(match[2]), []).append((match[3] or "", path))
        others = sorted({path.name.split(".")[0] for path in folder.glob("d[2-9].mbr")})
        if others:
            raise ImagingError(f"{folder} holds several disks (d1, {', '.join(others)}), and an image is of one")
        self._table = self._find_table()
        if not (folder / "d1.mbr").is_file():
            raise ImagingError(f"{folder / 'd1.mbr'} is missing: copy the folder again")
        for number in sorted(self._images):
            self._parts(number)

    @property
    def size(self) -> int:
        """The bytes of all files that hold partitions."""
        return sum(path.lstat().st_size for files in self._images.values() for _ending, path in files)

    def unpack(self, disk: WorkDisk, count: Count) -> None:
        """Make a disk of it, with the partitions as they were before FOG shrank them.

        :param count: Is told how many bytes were read.
        """
        disk.write_table(_read(self._table), 0, str(self._table))
        partitions = disk.partitions()
        unknown = set(self._images) - {partition.number for partition in partitions}
        if unknown:
            raise ImagingError(f"{self._table} names no partition {min(unknown)}, but there is d1p{min(unknown)}.img")
        swaps = self._swaps()
        for partition in partitions:
            self._refuse_missing(partition, swaps)
        self._write_head(disk, min(partition.start for partition in partitions))
        for partition in partitions:
            if partition.number in self._images and not partition.is_extended:
                self._unpack_one(disk, partition, count)
            elif partition.number in swaps:
                disk.make_swap(partition, swaps[partition.number], "")
        self._grow(disk)

    def _unpack_one(self, disk: WorkDisk, partition: Partition, count: Count) -> None:
        parts = self._parts(partition.number)
        what = f"partition {partition.number} ({parts})"
        with disk.device(partition, write=True) as device:
            mapped = partclone.restore(unpacked(parts, sniff(parts.paths[0]), count), device, partition.size, what, plain=False)
        disk.complete(partition, mapped=mapped)

    def _grow(self, disk: WorkDisk) -> None:
        """Have filesystems that FOG shrank fill their partitions again, as FOG itself does."""
        if not (self._folder / "d1.minimum.partitions").exists():
            return
        fixed = (self._folder / "d1.fixed_size_partitions").exists() and _read(self._folder / "d1.fixed_size_partitions")
        numbers = [int(number) for number in re.findall(r"\b\d{1,3}\b", fixed or "")]
        for partition in disk.partitions():
            shrunk = filesystem(partition.filesystem)
            if shrunk.grows and partition.number in self._images and partition.number not in numbers:
                with disk.device(partition, write=True) as device:
                    shrunk.resize(device, partition.size)

    def _parts(self, number: int) -> Parts:
        files = sorted(self._images[number])
        # FOG renames the first part, .000, to no ending at all.
        for position, (ending, path) in enumerate(files):
            if ending != f"{position:03}" and (position or ending):
                lost = path.with_name(f"d1p{number}.img" + (f".{position:03}" if position else ""))
                raise ImagingError(f"{lost} is missing: copy the folder again")
        parts = Parts([path for _ending, path in files])
        parts.check()
        return parts

    def _refuse_missing(self, partition: Partition, swaps: dict[int, str]) -> None:
        number = partition.number
        # FOG saves all others, a boot loader's too.
        if number in self._images or number in swaps or partition.is_extended or partition.is_reserved:
            return
        if (self._folder / f"d1p{number}.lvm").exists():
            raise ImagingError(f"{self._folder}: partition {number} is kept by logical volume (LVM), which is not supported")
        raise ImagingError(
            f"{self._folder / f'd1p{number}.img'} is missing: the table has a partition {number}, which is no swap"
        )

    def _swaps(self) -> dict[int, str]:
        path = self._folder / "d1.original.swapuuids"
        return {int(number): uuid for number, uuid in _SWAP.findall(_read(path))} if path.exists() else {}

    def _find_table(self) -> Path:
        for name in _TABLES:
            if (self._folder / name).is_file():
                return self._folder / name
        if (self._folder / _WHOLE).exists():
            raise ImagingError(f"{self._folder} holds a disk in one file: name that as the source, {self._folder / _WHOLE}")
        if any((self._folder / name).exists() for name in _OLD):
            raise ImagingError(
                f"{self._folder} is of an old FOG that kept no partition table (sys.img): deploy it with FOG, capture it again"
                " with one of today, and import that"
            )
        raise ImagingError(f"{self._folder / 'd1.partitions'} is missing: copy the folder again")

    def _write_head(self, disk: WorkDisk, first: int) -> None:
        """Put back the boot code. For a GPT disk, C(d1.mbr) is what sgdisk saved, which begins with the first sector."""
        with open_file(self._folder, "d1.mbr") as file:
            head = file.read(_LARGEST_HEAD)
        if len(head) < SECTOR:
            raise ImagingError(f"{self._folder / 'd1.mbr'} has {len(head)} bytes: it is truncated")
        is_gpt = head[SECTOR : SECTOR + len(_GPT_SIGNATURE)] == _GPT_SIGNATURE
        wanted = min(first, _LARGEST_HEAD) if first // SECTOR not in _MBR_ALONE else SECTOR
        if not is_gpt and (self._folder / "d1.has_grub").exists() and len(head) < wanted:
            raise ImagingError(f"{self._folder / 'd1.mbr'} has {len(head)} bytes of {wanted}: the boot loader is truncated")
        disk.write_head(head, SECTOR if is_gpt else first)


def write(disk: WorkDisk, folder: Path, image: str, level: int, count: Count) -> None:
    """Fill an empty folder from a disk.

    It serves both of FOG's types with one disk: as a resizable one, its filesystems can grow, and nothing was shrunk.

    :param count: Is told how many bytes of the disk are done.
    """
    partitions = disk.partitions()
    dump = run(["sfdisk", "--dump", str(disk.path)]).stdout.decode().replace(str(disk.path), "/dev/sda")
    for name in ("d1.partitions", "d1.minimum.partitions"):
        (folder / name).write_text(dump, encoding="utf-8")
    _write_mbr(disk, folder, partitions, is_gpt=bool(re.search(r"^label:\s*gpt", dump, re.MULTILINE)))
    growing = [item for item in partitions if filesystem(item.filesystem).grows]
    fixed = [str(item.number) for item in partitions if item not in growing]
    (folder / "d1.fixed_size_partitions").write_text(":".join(fixed) + "\n", encoding="ascii")
    kinds = [f"/dev/sda{item.number} {_fog_kind(item)}\n" for item in growing]
    (folder / "d1.original.fstypes").write_text("".join(kinds), encoding="ascii")
    swaps = [f"{item.number} {item.uuid}\n" for item in partitions if item.filesystem == "swap"]
    (folder / "d1.original.swapuuids").write_text("".join(swaps), encoding="ascii")
    for partition in partitions:
        if partition.is_extended:
            (folder / f"d1p{partition.number}.ebr").touch()
        elif partition.filesystem != "swap":
            _save(disk, partition, folder, level, image)
        count(partition.size)


def _save(disk: WorkDisk, partition: Partition, folder: Path, level: int, image: str) -> None:
    writer = SplitWriter(lambda _number: folder / f"d1p{partition.number}.img", _NO_SPLIT, level)
    with disk.device(partition) as device:
        kind = kept_by_partclone(filesystem(partition.filesystem), device) or "imager"
        partclone.save(device, kind, writer.write, f"partition {partition.number} of {image}")
    writer.close()


def _write_mbr(disk: WorkDisk, folder: Path, partitions: list[Partition], *, is_gpt: bool) -> None:
    first = min(partition.start for partition in partitions)
    head = disk.head(min(first, _LARGEST_HEAD))
    has_grub = b"GRUB" in head[:SECTOR]
    if is_gpt:
        run(["sgdisk", f"--backup={folder / 'd1.mbr'}", str(disk.path)])
        if has_grub:
            (folder / "d1.grub.mbr").write_bytes(head)
        return
    (folder / "d1.mbr").write_bytes(head)
    if has_grub:
        (folder / "d1.has_grub").touch()


def _fog_kind(partition: Partition) -> str:
    return "extfs" if partition.filesystem in Ext.names else partition.filesystem


def _read(path: Path) -> str:
    with open_file(path.parent, path.name) as file:
        return file.read(_LARGEST_TEXT).decode(errors="replace")
