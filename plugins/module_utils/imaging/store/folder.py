# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store that is a folder: a disk, or a mounted share. It alone can be listed and written."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
import uuid
from pathlib import Path
from typing import Mapping

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.own_files import open_file
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import FileStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import (
    INDEX,
    LATEST,
    NAME,
    SIGNATURE,
    check_name,
    check_new_name,
    chunk_path,
    description_path,
)

_SYNC_TIMEOUT = 3600
# Several machines may write to one share at the same time.
_WRITER = uuid.uuid4().hex


class PathStore(FileStore):
    """A store in a folder: a disk, or a mounted share.

    Beyond what every C(Store) can, its images can be listed, and captures be published in it.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root
        self._clock: float | None = None

    def images(self) -> list[str]:
        """Return the names of the images, sorted."""
        return sorted(path.name for path in _folders(self.root / "images"))

    def versions(self, name: str) -> list[str]:
        """Return the versions of an image in the order in which the store got them, also one that lost its index."""
        folder = self.root / "images" / check_name("image name", name)
        return [path.name for path in sorted(_folders(folder), key=_arrival)]

    def chunk_size(self, identifier: bytes) -> int:
        """Return the stored size of a chunk in bytes, 0 if it is not there."""
        try:
            status = (self.root / chunk_path(identifier)).lstat()
        except FileNotFoundError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def claim_chunk(self, identifier: bytes) -> int:
        """Return the stored size of a chunk in bytes, 0 if it is not there; and mark it as wanted, so that no prune takes it."""
        path = self.root / chunk_path(identifier)
        try:
            size = self.chunk_size(identifier)
            if size:
                self.mark(path)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise ImagingError(f"the store cannot be written: {path}: {error.strerror}") from error
        return size

    def mark(self, path: Path) -> None:
        """Make a file or folder of the store as new as one that is written now."""
        now = self.now()
        os.utime(path, (now, now))

    def now(self) -> float:
        """Return the time by the clock that gives the store's files their times: on a share it is not that of this computer."""
        if self._clock is None:
            probe = self.root / "staging" / f".clock.{uuid.uuid4().hex}"
            try:
                probe.parent.mkdir(parents=True, exist_ok=True)
                # Empty: of a file that was written to, an SMB client may say its own time.
                probe.touch(exist_ok=False)
                self._clock = probe.stat().st_mtime - time.monotonic()
                probe.unlink()
            except OSError as error:
                raise ImagingError(f"the store cannot be written: {probe}: {error.strerror}") from error
        return self._clock + time.monotonic()

    def refuse_version(self, name: str, version: str) -> None:
        """Raise C(ImagingError) if a version exists, or cannot be one. A share may not tell apart names in another case."""
        check_new_name("image name", name)
        if version:
            check_new_name("version", version)
        if version.lower() == LATEST:
            raise ImagingError(
                f"a version cannot be called {version!r}, which means the last one that was published: choose another"
            )
        known = self.images()
        like = next((image for image in known if image.lower() == name.lower()), name)
        if name not in known and like != name:
            raise ImagingError(f"store {self.where} has an image {like}, which a share may not tell from {name}: choose one name")
        like = next((one for one in self.versions(name) if one.lower() == version.lower()), "")
        if like:
            raise ImagingError(
                f"store {self.where} has {name}/{like} already, and an image is never changed: choose another version"
            )

    def put_chunk(self, identifier: bytes, data: bytes) -> None:
        """Store a compressed chunk. Several writers may store the same one at the same time."""
        self.write(self.root / chunk_path(identifier), data)

    def publish(self, index: Index, tables: Mapping[str, bytes]) -> None:
        """Make a complete image visible, in one rename."""
        staging = self.root / "staging" / uuid.uuid4().hex
        target = self.root / "images" / index.name / index.version
        try:
            for file, data in {**tables, INDEX: index.encode()}.items():
                self.write(staging / file, data)
            # The chunks must be on the disk before the index that names them.
            sync(self.root)
            _move(staging, target)
        except OSError as error:
            raise ImagingError(f"{index.image} cannot be published in {self.root}: {error.strerror}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self.write(target.parent / LATEST, index.version.encode())

    def put_signature(self, name: str, version: str, data: bytes) -> None:
        """Put a signature beside an index."""
        self.write(self.root / description_path(name, version, SIGNATURE), data)

    def write(self, path: Path, data: bytes) -> None:
        """Have a file of the store hold I(data), all at once."""
        temporary = path.with_name(f".{path.name}.{_WRITER}.{threading.get_ident()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ImagingError(f"the store cannot be written: {path}: {error.strerror}") from error

    def read(self, path: str, most: int) -> bytes:
        return read_file(self.root, path, most)

    def _missing(self, name: str, version: str, file: str) -> str:
        missing = super()._missing(name, version, file)
        versions = self.versions(name)
        if file == INDEX and version in versions:
            folder = self.root / "images" / name / version
            return f"{folder} has lost its {INDEX}: restore it from a copy of the store, or delete that folder"
        if file not in (INDEX, LATEST):
            return missing
        known = ", ".join(f"{name}/{version}" for version in versions[-5:]) if versions else ", ".join(self.images())
        return f"{missing}; there is: {known or 'nothing yet'}"


def read_file(root: Path, path: str, most: int) -> bytes:
    """Return a file below I(root), which whoever filled the store may have made a link, a pipe, or endless.

    :raises FileNotFoundError: There is none.
    """
    try:
        with open_file(root, path) as file:
            # As much memory as it takes: threads that get a megabyte each time wait for each other in the kernel.
            data = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ImagingError(f"{root / path}: {error.strerror}") from error
    if len(data) > most:
        raise ImagingError(f"{root / path} is larger than {most} bytes, which no such file of a store is")
    return data


def sync(path: Path) -> None:
    """Return when all that was written to the filesystem of I(path) is on its disk."""
    run(["sync", "--file-system", str(path)], timeout=_SYNC_TIMEOUT)


def _folders(path: Path) -> list[Path]:
    return [item for item in path.iterdir() if NAME.fullmatch(item.name) and item.is_dir()] if path.is_dir() else []


def _arrival(version: Path) -> tuple[float, str]:
    """Return what orders versions: when the store got one, whatever time the master had."""
    try:
        return (version / INDEX).stat().st_mtime, version.name
    except FileNotFoundError:
        return 0, version.name


def _move(staging: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        staging.rename(target)
    except FileNotFoundError:
        # At this moment a prune removed the folder of the image, which had no version any more.
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.rename(target)
