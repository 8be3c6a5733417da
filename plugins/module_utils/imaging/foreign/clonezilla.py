# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clonezilla's image folders, read.

Source: C(ocs-sr) and C(ocs-functions) of Clonezilla 5.3, checked with folders that they made.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign import partclone
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.disk import SECTOR, Partition, WorkDisk, sectors
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.streams import (
    BZIP2,
    GZIP,
    LZ4,
    PLAIN,
    XZ,
    ZSTD,
    Checksum,
    Parts,
    sniff,
    unpacked,
)
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import LARGEST_HEAD
from ansible_collections.reimage.lab.plugins.module_utils.imaging.own_files import file_size, open_file

Count = Callable[[int], None]
_KINDS = {"gz": GZIP, "zst": ZSTD, "xz": XZ, "lzma": XZ, "lz4": LZ4, "bz2": BZIP2, "uncomp": PLAIN}
# What has no ending of its own is a stream from a time when the compression was not in the name.
_FILE = re.compile(
    r"\.(?P<filesystem>[A-Za-z0-9+_]+)-(?P<tool>ptcl-img|img)"
    r"(\.(?P<kind>gz|zst|xz|bz2|uncomp|lz4|lzo|lzma|lzip|lrz))?(\.(?P<part>[a-z]{2,3}))?"
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9!_-]{0,63}")
_SUMS = {"MD5SUMS": "md5", "SHA1SUMS": "sha1", "SHA256SUMS": "sha256", "SHA512SUMS": "sha512", "B2SUMS": "blake2b"}
_SUM = re.compile(r"\b([0-9a-f]{32,128})[ *]{1,2}(?:\./)?(\S+)")
# "Id" is what sfdisk wrote before it knew GPTs.
_PROTECTION = re.compile(r"\b(?:Id|type)= *ee\b")
_LARGEST_TEXT = 1 << 20
_LARGEST_DESCRIPTION = 64 << 20


def is_folder(folder: Path) -> bool:
    """Return whether a folder looks like one that Clonezilla made."""
    return (folder / "parts").exists() or (folder / "clonezilla-img").exists()


class Folder:
    """A folder that Clonezilla saved a disk in. Making the object checks that all files are there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._disk_name = self._find_disk()
        self._separator = "p" if self._disk_name[-1].isdigit() else ""
        self._sums = self._read_sums()
        self._refuse_encrypted()
        self._check_small_files()
        self._table = self._need(f"{self._disk_name}-pt.sf")
        self._saved = self._text("parts").split() if (folder / "parts").exists() else []
        for name in self._saved:
            if not _NAME.fullmatch(name):
                raise ImagingError(f"{folder / 'parts'}: {name!r:.60} is not the name of a partition")
            if not self._files(name):
                raise self._missing(name)

    def unpack(self, disk: WorkDisk, count: Count) -> None:
        """Make a disk of it.

        :param count: Is told how many bytes were read.
        """
        self._write_table(disk)
        partitions = disk.partitions()
        self._refuse_unknown({self._partition_name(partition.number) for partition in partitions})
        work = [(partition, self._source(partition)) for partition in partitions]
        self._write_head(disk, min(partition.start for partition in partitions))
        for partition, source in work:
            if source:
                parts, kind, plain = source
                what = f"partition {partition.number} ({parts})"
                with disk.device(partition, write=True) as device:
                    mapped = partclone.restore(unpacked(parts, kind, count), device, partition.size, what, plain=plain)
                disk.complete(partition, mapped=mapped)
            elif self._swap_file(partition.number).exists():
                tags = dict(re.findall(r'^(UUID|LABEL)="?([^"\n]*)"?$', self._text(self._swap_file(partition.number).name), re.M))
                disk.make_swap(partition, tags.get("UUID", ""), tags.get("LABEL", ""))

    @property
    def size(self) -> int:
        """The bytes of all files that hold partitions."""
        return sum(path.lstat().st_size for path in self._folder.iterdir() if _FILE.search(path.name))

    def _source(self, partition: Partition) -> tuple[Parts, str, bool] | None:
        name = self._partition_name(partition.number)
        found = self._files(name)
        if not found:
            swap = self._swap_file(partition.number).exists()
            if not (swap or partition.is_extended or (partition.may_be_empty and name not in self._saved)):
                raise self._missing(name)
            return None
        parts, filesystem, kind = found
        parts.check()
        return parts, kind, filesystem == "dd"

    def _files(self, name: str) -> tuple[Parts, str, str] | None:
        """Return the files of a partition, the filesystem that they are said to hold, and how they are compressed."""
        found = []
        for path in sorted(self._folder.glob(f"{name}.*")):
            match = _FILE.fullmatch(path.name[len(name) :])
            if match:
                found.append((path, match))
        if not found:
            return None
        paths = [path for path, _match in found]
        variants = {match.group("filesystem", "tool", "kind") for _path, match in found}
        if len(variants) > 1:
            raise ImagingError(f"{self._folder} holds partition {name} more than once: {', '.join(path.name for path in paths)}")
        filesystem, tool, kind = variants.pop()
        if tool == "img" and filesystem != "dd":
            raise ImagingError(
                f"{paths[0]} was made by ntfsclone or partimage, which are not supported: restore it with Clonezilla, and save"
                " it again with partclone (-q2)"
            )
        self._check_sequence(paths, [match["part"] or "" for _path, match in found])
        return Parts(paths, self._sums), str(filesystem), _KINDS.get(kind, str(kind)) if kind else sniff(paths[0])

    def _check_sequence(self, paths: list[Path], endings: list[str]) -> None:
        if endings == [""]:
            return
        length = len(endings[-1])
        stem = paths[-1].name[:-length]
        for number, ending in enumerate(endings):
            wanted = part_ending(number, length)
            if ending != wanted:
                raise ImagingError(f"{self._folder / (stem + wanted)} is missing: copy the folder again")

    def _find_disk(self) -> str:
        if (self._folder / "disk").exists():
            names = self._text("disk").split()
        else:
            names = sorted(path.name[: -len("-pt.sf")] for path in self._folder.glob("*-pt.sf"))
        for name in names:
            if not _NAME.fullmatch(name):
                raise ImagingError(f"{self._folder}: {name!r:.60} is not the name of a disk")
        if len(names) != 1:
            raise ImagingError(f"{self._folder} holds {len(names)} disks ({', '.join(names[:8])}), and an image is of one")
        return names[0]

    def _disk_size(self) -> int:
        name = f"{self._disk_name}-pt.parted"
        if (self._folder / name).exists():
            found = re.search(r"^Disk /\S+: (\d+)s$", self._text(name), re.MULTILINE)
            return sectors(found[1], str(self._folder / name)) * SECTOR if found else 0
        return 0

    def _refuse_unknown(self, known: set[str]) -> None:
        """What was saved must be in the table, which may have been cut off between two lines."""
        swaps = [path.stem[len("swappt-") :] for path in self._folder.glob(f"swappt-{self._disk_name}*.info")]
        for name in [*self._saved, *swaps]:
            if name not in known:
                raise ImagingError(f"{self._table} names no partition {name}, which the folder holds: it is truncated")

    def _write_table(self, disk: WorkDisk) -> None:
        """Make the disk with its partitions. The sfdisk of old times saw of a GPT only the entry that protects it."""
        text = self._text(self._table.name)
        gpt = self._folder / f"{self._disk_name}-gpt-1st"
        if _PROTECTION.search(text) and gpt.exists():
            backup = self._bytes(self._need(f"{self._disk_name}-gpt-2nd").name, LARGEST_HEAD)
            disk.write_gpt(self._bytes(gpt.name, LARGEST_HEAD), backup, str(gpt))
        else:
            disk.write_table(text, self._disk_size(), str(self._table))

    def _write_head(self, disk: WorkDisk, first: int) -> None:
        is_gpt = disk.is_gpt
        head = self._bytes(self._need(f"{self._disk_name}-mbr").name, LARGEST_HEAD)
        if len(head) < SECTOR:
            raise ImagingError(f"{self._folder / self._disk_name}-mbr has {len(head)} bytes instead of {SECTOR}: it is truncated")
        gap = self._folder / f"{self._disk_name}-hidden-data-after-mbr"
        if not is_gpt and gap.exists():
            head = head[:SECTOR] + self._bytes(gap.name, LARGEST_HEAD)
        if not is_gpt and b"GRUB" in head[:SECTOR] and len(head) < min(first, LARGEST_HEAD):
            raise ImagingError(
                f"{gap} is missing or truncated: the boot loader is in the {first - SECTOR} bytes before the first partition,"
                f" and {len(head) - SECTOR} are there; copy the folder again"
            )
        disk.write_head(head, SECTOR if is_gpt else first)

    def _refuse_encrypted(self) -> None:
        if (self._folder / "ecryptfs.info").exists():
            raise ImagingError(f"{self._folder} is encrypted: decrypt it with Clonezilla's ocs-decrypt-img first")

    def _read_sums(self) -> dict[str, Checksum]:
        sums: dict[str, Checksum] = {}
        for file, algorithm in _SUMS.items():
            if (self._folder / file).exists():
                found = _SUM.findall(self._text(file))
                sums.update({name: (algorithm, digest) for digest, name in found if "/" not in name})
        lost = sorted(name for name in sums if not (self._folder / name).exists())
        if lost:
            raise ImagingError(f"{self._folder / lost[0]} is missing, though the checksums of the folder name it")
        return sums

    def _check_small_files(self) -> None:
        """Compare with their checksums the files that describe the disk; those of partitions are compared as they are read."""
        small = [name for name in self._sums if name in ("disk", "parts") or re.match(rf"{self._disk_name}-|swappt-", name)]
        paths = [self._folder / name for name in small]
        for path in paths:
            if file_size(path) > _LARGEST_DESCRIPTION:
                raise ImagingError(f"{path} is larger than {_LARGEST_DESCRIPTION} bytes, which no such file is: it is damaged")
        for _block in Parts(paths, self._sums).read(lambda _count: None):
            pass

    def _missing(self, name: str) -> ImagingError:
        why = ""
        if any(self._folder.glob("lvm_*")):
            why = " (Clonezilla keeps LVM by logical volume, which is not supported)"
        elif not (self._folder / "disk").exists():
            why = " (the folder is of some partitions, by saveparts, and an image is of a disk: save it again with savedisk)"
        return ImagingError(f"{self._folder}: partition {name} is missing: there is no file {name}.*-ptcl-img*{why}")

    def _need(self, name: str) -> Path:
        if not (self._folder / name).is_file():
            raise ImagingError(f"{self._folder / name} is missing: copy the folder again")
        return self._folder / name

    def _text(self, name: str) -> str:
        return self._bytes(name, _LARGEST_TEXT).decode(errors="replace")

    def _bytes(self, name: str, most: int) -> bytes:
        with open_file(self._folder, name) as file:
            return file.read(most)

    def _partition_name(self, number: int) -> str:
        return f"{self._disk_name}{self._separator}{number}"

    def _swap_file(self, number: int) -> Path:
        return self._folder / f"swappt-{self._partition_name(number)}.info"


def part_ending(number: int, length: int) -> str:
    """Return what C(split) calls the part with a number: C(aa), C(ab), …"""
    letters = ""
    for _position in range(length):
        number, letter = divmod(number, 26)
        letters = chr(ord("a") + letter) + letters
    return letters
