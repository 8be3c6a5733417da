# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a Windows that is not running, whose names mean the same in any case.

The volume is untrusted: a link in it, or a reparse point, is never followed.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from stat import S_IMODE
from typing import BinaryIO, Iterator, Mapping, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems import ntfs
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import HIBERNATED
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import Partition, partitions
from ansible_collections.reimage.lab.plugins.module_utils.options import option

FILESYSTEMS = ("ntfs", "vfat", "BitLocker")  # that Windows uses
CONFIG = "Windows/System32/config"
_PIECE = 1 << 20  # bytes
_BESIDE = ".reimage-new"


@dataclass(frozen=True)
class Place:
    """Where a Windows is."""

    path: str | None = option("The root of a mounted Windows volume.", None, kind="path")
    disk: str | None = option(
        [
            "The disk, a device or a raw disk file. The one partition that holds Windows is found on it.",
            "A disk that is in use is refused. It is locked meanwhile (flock, as udev and systemd do), and whoever else is at"
            " work on it is named.",
        ],
        None,
        kind="path",
    )


class Files:
    """A mounted volume that Windows uses."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def find(self, name: str) -> Path | None:
        """Return where a file or folder is, or None if there is none.

        :raises IdentityError: Two names differ in their case only, or something on the way is a link or a reparse point.
        """
        path, missing = self._resolve(name)
        return None if missing else path

    def read(self, name: str) -> bytes | None:
        """Return what a file holds, or None if there is none."""
        path = self.find(name)
        if path is None:
            return None
        if not path.is_file():
            raise IdentityError(f"{path}: this should be a file")
        return path.read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Have a file hold I(data), making folders as needed. An existing file keeps its rights."""
        self.write_all({name: data})

    def write_all(self, files: Mapping[str, bytes | None]) -> None:
        """Have files hold what they should, or not exist (C(None)), making folders as needed.

        All new contents lie complete beside the old before any file is touched. Existing files keep their rights.

        :raises IdentityError: There is no room, or a file cannot be written; nothing was changed then.
        """
        new = {name: data for name, data in files.items() if data is not None}
        self._check_room(sum(map(len, new.values())))
        staged: list[tuple[Path, Path]] = []
        try:
            for name, data in new.items():
                staged.append(self._stage(name, BytesIO(data)))
            for beside, path in staged:
                beside.replace(path)
        except OSError as error:
            raise IdentityError(f"{self.root}: this cannot be written: {error.filename or ''} {error.strerror}") from error
        finally:
            for beside, _path in staged:
                beside.unlink(missing_ok=True)
        for name in files.keys() - new.keys():
            self.remove(name)

    def copy(self, source: Path, name: str) -> None:
        """Have a file hold what I(source) does, however big it is, making folders as needed."""
        try:
            # Not synced one by one, which takes minutes for thousands of files; unmounting does it.
            with source.open("rb") as data:
                beside, path = self._stage(name, data, sync=False)
            beside.replace(path)
        except OSError as error:
            raise IdentityError(f"{source} could not be copied to {self.root}/{name}: {error.strerror}") from error

    def remove(self, name: str) -> None:
        """Have no file there."""
        path = self.find(name)
        if path:
            path.unlink()

    def files(self, folder: str) -> list[Path]:
        """Return all files below a folder, sorted. Links and reparse points are left out."""
        path = self.find(folder)
        found = [Path(place, name) for place, _folders, names in os.walk(path) for name in names] if path else []
        return sorted(item for item in found if not item.is_symlink())

    def match(self, folder: str, pattern: str) -> list[str]:
        """Return the files in a folder whose names match, in any case, sorted."""
        path = self.find(folder) if folder else self.root
        if path is None or not path.is_dir():
            return []
        found = [item.name for item in path.iterdir() if Path(item.name.lower()).match(pattern.lower())]
        return [f"{folder}/{name}".lstrip("/") for name in sorted(found)]

    def _check_room(self, size: int) -> None:
        stat = os.statvfs(self.root)
        free = stat.f_bavail * stat.f_frsize
        if size > free:
            raise IdentityError(
                f"{self.root}: {size} bytes are to be written, and {free} are free: nothing was changed. Make room on the master"
                " and capture it again, or grow the volume when you deploy"
            )

    def _stage(self, name: str, data: BinaryIO, *, sync: bool = True) -> tuple[Path, Path]:
        """Write what a file is to hold beside it, with the rights that it has, and return where that is, and the file.

        :raises OSError: It could not be written, and is not there.
        """
        path, missing = self._resolve(name)
        for part in missing[:-1]:
            path /= part
            path.mkdir()
        path = path / missing[-1] if missing else path
        beside = path.with_name(f"{path.name}{_BESIDE}")
        beside.unlink(missing_ok=True)  # of a run that was interrupted
        try:
            with beside.open("xb") as file:
                shutil.copyfileobj(data, file, _PIECE)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            if not missing:
                _keep_rights(path, beside)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        return beside, path

    def _resolve(self, name: str) -> tuple[Path, list[str]]:
        """Return how far a path exists, and the parts that do not."""
        path = self.root
        parts = [part for part in name.replace("\\", "/").split("/") if part]
        if ".." in parts:
            raise IdentityError(f"{name}: this path leads out of the volume")
        for number, part in enumerate(parts):
            found = [item for item in path.iterdir() if item.name.lower() == part.lower()] if path.is_dir() else []
            if not found:
                return path, parts[number:]
            if len(found) > 1:
                raise IdentityError(f"{path}: {' and '.join(sorted(item.name for item in found))} differ in their case only")
            path = found[0]
            if path.is_symlink():
                # ntfs-3g shows all that it does not understand, such as files that CompactOS compressed, as a broken link.
                raise IdentityError(f"{path}: this is a link or a reparse point, which is never followed")
        return path, []


def _keep_rights(old: Path, new: Path) -> None:
    """Give a new file the owner, the rights and, on NTFS, the access control list and the attributes of an old one."""
    stat = old.stat()
    os.chown(new, stat.st_uid, stat.st_gid)
    new.chmod(S_IMODE(stat.st_mode))
    for name in ("system.ntfs_acl", "system.ntfs_attrib"):
        try:
            value = os.getxattr(old, name)
        except OSError:
            continue  # not NTFS
        os.setxattr(new, name, value)


class Volume(Files):
    """A mounted volume that holds a Windows."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        if self.find(f"{CONFIG}/SYSTEM") is None:
            raise IdentityError(f"{root}: this is not a Windows volume: it has no {CONFIG}/SYSTEM")


def read_file(partition: Partition, name: str) -> bytes | None:
    """Return what a file of a partition holds, or None if there is none."""
    if partition.filesystem == "vfat":
        # Not mounted, so that it does not take a kernel that knows it.
        done = run(["mtype", "-i", partition.device, f"::/{name}"], accept=(0, 1))
        return None if done.returncode else done.stdout
    with partition.mounted("ro", "ntfs-3g") as folder:
        return Files(folder).read(name)


def write_file(partition: Partition, name: str, data: bytes) -> None:
    """Have a file of a partition hold I(data)."""
    if partition.filesystem == "vfat":
        image, file = ["-i", partition.device], f"::/{name}"
        done = run(["mcopy", "-D", "o", *image, "-", f"{file}{_BESIDE}"], data=data, accept=(0, 1))
        if read_file(partition, f"{name}{_BESIDE}") != data:  # where there is no room, mcopy keeps half a file and ends with 0
            run(["mdel", *image, f"{file}{_BESIDE}"], accept=(0, 1))
            said = done.stderr.decode(errors="replace").strip()
            raise IdentityError(f"{partition}: {name} cannot be written, and was not changed: {said}")
        run(["mdel", *image, file], accept=(0, 1))  # there may be none
        run(["mren", *image, f"{file}{_BESIDE}", file])
        run(["sync", partition.device])
        return
    refuse_unsafe(partition)
    with partition.mounted("rw,windows_names", "ntfs-3g") as folder:
        Files(folder).write(name, data)


@contextmanager
def mounted_windows(disk: str, *, read_only: bool = False) -> Iterator[tuple[Path, Partition]]:
    """Mount the one Windows volume of a disk, and yield its folder and its partition.

    :param disk: A block device, or a raw disk file.
    :raises IdentityError: There is no Windows on the disk, more than one, or it must not be written to.
    """
    with partitions(disk, FILESYSTEMS, read_only=read_only) as found:
        partition = one_windows(disk, found)
        if not read_only:
            refuse_unsafe(partition)
        with partition.mounted("ro" if read_only else "rw,windows_names", "ntfs-3g") as folder:
            if not read_only and os.statvfs(folder).f_flag & os.ST_RDONLY:
                raise IdentityError(f"{partition}: it could be mounted for reading only: Windows on it was not shut down")
            yield folder, partition


def one_windows(disk: str, found: Sequence[Partition]) -> Partition:
    """Return the one partition that holds a Windows.

    :raises IdentityError: None does, or more than one.
    """
    volumes = [partition for partition in found if partition.filesystem == "ntfs" and holds_windows(partition)]
    if len(volumes) != 1:
        locked = [f"; {partition} is encrypted with BitLocker" for partition in found if partition.filesystem == "BitLocker"]
        raise IdentityError(
            f"disk {disk}: one partition must hold Windows; {', '.join(map(str, volumes)) or 'none'} does{''.join(locked)}"
        )
    return volumes[0]


def refuse_unsafe(partition: Partition) -> None:
    """Raise C(IdentityError) if an NTFS partition must not be written to."""
    found = ntfs.states(partition.device)
    if HIBERNATED in found:
        raise IdentityError(f"{partition} holds a hibernated Windows: capture a master that was shut down (powercfg /h off)")
    if found:
        raise IdentityError(f"{partition} is dirty: let chkdsk finish on the master, shut it down, and capture it again")


def holds_windows(partition: Partition) -> bool:
    """Return whether an NTFS partition is a volume of Windows."""
    with partition.mounted("ro", "ntfs-3g") as folder:
        try:
            Volume(folder)
        except IdentityError:
            return False
        return True
