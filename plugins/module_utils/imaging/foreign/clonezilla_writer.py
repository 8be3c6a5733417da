# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clonezilla's image folders, written so that its own programs restore them.

Source: C(ocs-sr) and C(ocs-functions) of Clonezilla 5.3, checked by restoring with them.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.mapped import kept_by_partclone
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign import partclone
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.clonezilla import part_ending
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.disk import SECTOR, Partition, WorkDisk
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.streams import SplitWriter

DISK = "sda"
# What also fits on FAT32; files that are split are called the same by old and new versions of Clonezilla.
_SPLIT = 4_096_000_000
_GPT_SECTORS = 34
_LARGEST_GAP = 2048 * SECTOR
_HEADS, _SECTORS_PER_TRACK = 255, 63


def write(disk: WorkDisk, folder: Path, image: str, level: int, count: Callable[[int], None]) -> None:
    """Fill an empty folder from a disk, which must be called as I(DISK).

    :param count: Is told how many bytes of the disk are done.
    """
    partitions = disk.partitions()
    _write_tables(disk, folder)
    for partition in partitions:
        if partition.filesystem == "swap":
            text = f'UUID="{partition.uuid}"\nLABEL="{partition.label}"\n'
            (folder / f"swappt-{DISK}{partition.number}.info").write_text(text, encoding="utf-8")
        elif partition.is_extended:
            (folder / f"{DISK}{partition.number}-ebr").write_bytes(disk.head(SECTOR, partition.start))
        else:
            _save(disk, partition, folder, level, image)
        count(partition.size)
    _describe(disk, partitions, folder, image)


def _save(disk: WorkDisk, partition: Partition, folder: Path, level: int, image: str) -> None:
    with disk.device(partition) as device:
        kind = kept_by_partclone(filesystem(partition.filesystem), device) or "dd"
        stem = f"{DISK}{partition.number}.{kind}-ptcl-img.zst"
        writer = SplitWriter(lambda number: folder / f"{stem}.{part_ending(number, 2)}", _SPLIT, level)
        partclone.save(device, kind, writer.write, f"partition {partition.number} of {image}")
    writer.close()


def _write_tables(disk: WorkDisk, folder: Path) -> None:
    path = str(disk.path)
    size = disk.path.stat().st_size
    dump = run(["sfdisk", "--dump", path]).stdout.decode().replace(path, f"/dev/{DISK}")
    _text(folder, f"{DISK}-pt.sf", dump)
    cylinders = size // (_HEADS * _SECTORS_PER_TRACK * SECTOR)
    _text(folder, f"{DISK}-chs.sf", f"cylinders={cylinders}\nheads={_HEADS}\nsectors={_SECTORS_PER_TRACK}\n")
    for name, units in (("pt.parted", ["unit", "s"]), ("pt.parted.compact", [])):
        said = run(["parted", "--script", path, *units, "print"]).stdout.decode()
        _text(folder, f"{DISK}-{name}", said.replace(path, f"/dev/{DISK}"))
    (folder / f"{DISK}-mbr").write_bytes(disk.head(SECTOR))
    if re.search(r"^label:\s*gpt", dump, re.MULTILINE):
        (folder / f"{DISK}-gpt-1st").write_bytes(disk.head(_GPT_SECTORS * SECTOR))
        behind = (_GPT_SECTORS - 1) * SECTOR
        (folder / f"{DISK}-gpt-2nd").write_bytes(disk.head(behind, size - behind))
        run(["sgdisk", f"--backup={folder / DISK}-gpt.gdisk", path])
        _text(folder, f"{DISK}-gpt.sgdisk", run(["sgdisk", "--print", path]).stdout.decode().replace(path, f"/dev/{DISK}"))
    else:
        first = min(partition.start for partition in disk.partitions())
        gap = disk.head(min(first, _LARGEST_GAP) - SECTOR, SECTOR)
        if gap:
            (folder / f"{DISK}-hidden-data-after-mbr").write_bytes(gap)


def _describe(disk: WorkDisk, partitions: list[Partition], folder: Path, image: str) -> None:
    """Write the files that say what the others are. C(ocs-sr) finds folders and swap partitions by them."""
    saved = [item for item in partitions if item.filesystem != "swap" and not item.is_extended]
    _text(folder, "disk", f"{DISK}\n")
    _text(folder, "parts", " ".join(f"{DISK}{item.number}" for item in saved) + "\n")
    rows = [f"/dev/{DISK}{item.number} {_kind(item)} {_mib(item.size)}" for item in partitions]
    _text(folder, "dev-fs.list", "\n".join(["# <Device name>   <File system>   <Size>", *rows]) + "\n")
    rows = [f"{DISK} {DISK} {_mib(disk.path.stat().st_size)} disk"]
    rows += [
        f"{DISK}{item.number} |-{DISK}{item.number} {_mib(item.size)} part {item.filesystem}".rstrip() for item in partitions
    ]
    _text(folder, "blkdev.list", "\n".join(["KNAME NAME SIZE TYPE FSTYPE MOUNTPOINT MODEL", *rows]) + "\n")
    _text(folder, "blkid.list", "".join(_blkid_row(item) for item in partitions if item.filesystem))
    now = datetime.now(timezone.utc)
    log = (
        f"This image was saved by reimage.lab at {now:%Y-%m-%d %H:%M:%S} UTC, from its image {image}.\n### End of log ###\n"
        f"### Image created time: {now:%Y-%m%d-%H%M}\n"
    )
    _text(folder, "clonezilla-img", log)
    _text(folder, "Info-img-id.txt", f"IMG_ID={hashlib.sha512(log.encode()).hexdigest()}\n")
    _write_sums(folder)


def _write_sums(folder: Path) -> None:
    rows = []
    for path in sorted(folder.iterdir()):
        digest = hashlib.sha1(usedforsecurity=False)
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        rows.append(f"{digest.hexdigest()}  {path.name}\n")
    _text(folder, "SHA1SUMS", "".join(rows))


def _kind(partition: Partition) -> str:
    return "extended" if partition.is_extended else partition.filesystem or "unknown"


def _blkid_row(partition: Partition) -> str:
    tags = {"LABEL": partition.label, "UUID": partition.uuid, "TYPE": partition.filesystem}
    return f"/dev/{DISK}{partition.number}: " + " ".join(f'{key}="{value}"' for key, value in tags.items() if value) + "\n"


def _mib(size: int) -> str:
    return f"{size >> 20}M"


def _text(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
