# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A master's disk for measuring: one NTFS partition, filled with the programs and libraries of this machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import struct
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

MIB = 1 << 20
START = MIB
_FIBMAP = 1
SOURCES = ("/usr/lib", "/usr/bin", "/usr/share", "/usr/sbin", "/root", "/opt", "/var/lib")


def sh(*arguments: object, data: bytes | None = None) -> bytes:
    """Run a program that must succeed."""
    return subprocess.run([str(word) for word in arguments], input=data, check=True, capture_output=True).stdout


@contextmanager
def loop(path: Path, offset: int = START, size: int = 0) -> Iterator[str]:
    """The partition of a disk file as a device."""
    span = ["--offset", offset, *(["--sizelimit", size] if size else [])]
    device = sh("losetup", "--find", "--show", "--sector-size", 512, *span, path).decode().strip()
    try:
        yield device
    finally:
        sh("losetup", "--detach", device)


@contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    """The filesystem of a disk file."""
    folder = disk.with_suffix(".mnt")
    folder.mkdir(exist_ok=True)
    with loop(disk, START, partition_size(disk)) as device:
        sh("mount", "-t", "ntfs-3g", device, folder)
        try:
            yield folder
        finally:
            sh("umount", folder)


def partition_size(disk: Path) -> int:
    """Return the size of the one partition."""
    return disk.stat().st_size - 2 * MIB


def make(disk: Path, used: int) -> None:
    """Make a disk whose filesystem holds I(used) bytes, four thirds of that large."""
    with disk.open("wb") as file:
        file.truncate(used * 4 // 3 // MIB * MIB + 66 * MIB)
    sh(
        "sfdisk",
        "--quiet",
        disk,
        data=f"label: gpt\nstart=2048, size={partition_size(disk) // 512}, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n".encode(),
    )
    with loop(disk, START, partition_size(disk)) as device:
        sh("mkfs.ntfs", "--fast", "--force", "--quiet", device)
    with mounted(disk) as folder:
        left = used
        for number, path in enumerate(_files()):
            size = min(path.stat().st_size, left)
            place = folder / f"{number // 1000:03}"
            place.mkdir(exist_ok=True)
            with path.open("rb") as source, (place / f"{number:06}").open("wb") as target:
                target.write(source.read(size))
            left -= size
            if not left:
                return
    raise SystemExit(f"this machine does not have {used} bytes of programs to fill a master with: use a smaller --size")


def _files() -> Iterator[Path]:
    """Yield the regular files of this machine that are worth copying, in the same order every time."""
    for source in SOURCES:
        for folder, names, files in os.walk(source):
            names.sort()
            for name in sorted(files):
                path = Path(folder, name)
                try:
                    if path.is_file() and not path.is_symlink() and 0 < path.stat().st_size < 200 * MIB:
                        yield path
                except OSError:
                    continue


def change(disk: Path, share: float, *, together: bool) -> None:
    """Replace the content of files that make up a share of the bytes, in five stretches, as an update of packages does.

    :param together: Whether the files of a stretch stand together on the disk, as those that Windows wrote one after the other.
        ntfs-3g puts each file 16 MiB behind the one before it: in the order of their making, they are all over the disk.
    """
    chance = random.Random(5)
    with mounted(disk) as folder:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if together:
            places = {path: _first_block(path) for path in files}
            files = sorted((path for path in files if places[path]), key=lambda path: places[path])
        sizes = [path.stat().st_size for path in files]
        for start in chance.sample(range(0, len(files) * 9 // 10), 5):
            left = sum(sizes) * share / 5
            for path, size in zip(files[start:], sizes[start:]):
                if left < MIB:
                    break
                if size > left:
                    continue  # one big file would make it far more than was asked for
                with path.open("r+b") as file:
                    data = file.read()
                    file.seek(0)
                    file.write(bytes(reversed(data)))
                left -= size


def _first_block(path: Path) -> int:
    """Return where on the disk a file begins, in blocks; 0 if it is so small that it is in its directory's record."""
    with path.open("rb") as file:
        return int(struct.unpack("i", fcntl.ioctl(file, _FIBMAP, struct.pack("i", 0)))[0])


def digest(disk: Path, extents: list[tuple[int, int]]) -> str:
    """Return the SHA-256 of the used bytes of the partition."""
    total = hashlib.sha256()
    with disk.open("rb") as file:
        for offset, length in extents:
            file.seek(START + offset)
            while length:
                data = file.read(min(length, 16 * MIB))
                total.update(data)
                length -= len(data)
    return total.hexdigest()
