# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image store: a folder of indexes and chunks, reached as a path or over HTTP(S)."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import Mapping, Protocol

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.imaging import caibx
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import Ids
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import NAME, Index, Region, check_name, decode
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.http import HttpStore

LATEST = "latest"
_SYNC_TIMEOUT = 3600
# Several machines may write to one share at the same time.
_WRITER = uuid.uuid4().hex


def chunk_path(identifier: bytes) -> str:
    """Return where a chunk is, below the store."""
    name = identifier.hex()
    return f"chunks/{name[:4]}/{name}.cacnk"


class Reader(Protocol):
    """What a deploy needs of a store."""

    where: str

    def get(self, path: str) -> bytes:
        """Return a file of the store. C(FileNotFoundError) if there is none, C(ImagingError) if it cannot be had."""


class PathStore:
    """A store in a folder: a disk, or a mounted share."""

    def __init__(self, root: Path) -> None:
        self.where = str(root)
        self.root = root
        self._clock: float | None = None

    def get(self, path: str) -> bytes:
        """Return a file of the store."""
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ImagingError(f"{self.root / path}: {error.strerror}") from error

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
            return (self.root / chunk_path(identifier)).stat().st_size
        except FileNotFoundError:
            return 0

    def claim_chunk(self, identifier: bytes) -> int:
        """Return the stored size of a chunk in bytes, 0 if it is not there; and mark it as wanted, so that no prune takes it."""
        path = self.root / chunk_path(identifier)
        try:
            size = path.stat().st_size
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
        """Raise C(ImagingError) if a version exists, or cannot be one."""
        if version.lower() == LATEST:  # whatever its case, which a share may not tell apart
            raise ImagingError(
                f"a version cannot be called {version!r}, which means the last one that was published: choose another"
            )
        if version in self.versions(name):
            raise ImagingError(
                f"store {self.where} has {name}/{version} already, and an image is never changed: choose another version"
            )

    def put_chunk(self, identifier: bytes, data: bytes) -> None:
        """Store a compressed chunk. Several writers may store the same one at the same time."""
        self.write(self.root / chunk_path(identifier), data)

    def publish(self, index: Index, tables: Mapping[str, bytes]) -> None:
        """Make a complete image visible, in one rename."""
        staging = self.root / "staging" / uuid.uuid4().hex
        target = self.root / "images" / index.name / index.version
        try:
            for file, data in {**tables, "index.json": index.encode()}.items():
                self.write(staging / file, data)
            # The chunks must be on the disk before the index that names them.
            sync(self.root)
            _move(staging, target)
        except OSError as error:
            raise ImagingError(f"{index.image} cannot be published in {self.root}: {error.strerror}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self.write(target.parent / LATEST, index.version.encode())

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


def sync(path: Path) -> None:
    """Return when all that was written to the filesystem of I(path) is on its disk."""
    run(["sync", "--file-system", str(path)], timeout=_SYNC_TIMEOUT)


def open_store(where: str) -> PathStore | HttpStore:
    """Open a store for reading: a path or an C(http:) or C(https:) URL."""
    if where.startswith(("http://", "https://")):
        return HttpStore(where)
    root = Path(where)
    if not root.is_dir():
        raise ImagingError(f"store {where}: there is no such folder; mount or create it, or correct the path")
    return PathStore(root)


def resolve(store: Reader, name: str, version: str) -> str:
    """Return the version that C(latest) means; any other version is returned as it is."""
    check_name("image name", name)
    if version != LATEST:
        return check_name("version", version)
    try:
        return check_name("version", store.get(f"images/{name}/{LATEST}").decode(errors="replace").strip())
    except FileNotFoundError:
        raise ImagingError(f"store {store.where} has no image {name!r}{_there_is(store, name)}") from None


def latest(store: Reader, name: str) -> str:
    """Return the version that is called C(latest), nothing if none is."""
    try:
        return resolve(store, name, LATEST)
    except ImagingError:
        return ""


def open_folder(path: str) -> PathStore:
    """Open a store for writing, which a URL is not."""
    store = open_store(path)
    if not isinstance(store, PathStore):
        raise ImagingError(f"store {path}: capture to a folder or a mounted share; a web server only reads")
    return store


def read_index(store: Reader, name: str, version: str, digest: str = "") -> tuple[Index, str]:
    """Return an index and its digest, the SHA-256 of its file in hex.

    :param digest: What the digest must be, if that is known from a trusted place.
    """
    version = resolve(store, name, version)
    path = f"images/{name}/{version}/index.json"
    try:
        data = store.get(path)
    except FileNotFoundError:
        raise ImagingError(_none(store, name, version)) from None
    found = hashlib.sha256(data).hexdigest()
    if digest and found != digest.lower():
        raise DamagedError(f"{store.where}/{path} is not the index that was asked for: its SHA-256 is {found}, not {digest}")
    index = decode(data, f"{store.where}/{path}")
    if (index.name, index.version) != (name, version):
        raise ImagingError(f"{store.where}/{path} describes another image, {index.image}")
    return index, found


def read_ids(store: Reader, index: Index, region: Region) -> Ids:
    """Return the chunk ids of a partition, from the chunk table that the index names."""
    return caibx.decode(_read_file(store, index, region.file, region.caibx_sha256), region.size, region.file)


def read_blake3(store: Reader, index: Index, region: Region) -> Ids | None:
    """Return the BLAKE3 hashes of the chunks of a partition, if whoever captured it could make them."""
    if not region.blake3_sha256:
        return None
    found = Ids(_read_file(store, index, region.blake3_file, region.blake3_sha256))
    if len(found) != region.chunks:
        raise ImagingError(f"{region.blake3_file} of {index.image} does not fit {region.chunks} chunks: the image is damaged")
    return found


def _read_file(store: Reader, index: Index, file: str, sha256: str) -> bytes:
    path = f"images/{index.image}/{file}"
    try:
        data = store.get(path)
    except FileNotFoundError:
        raise ImagingError(f"{store.where}/{path} is missing: the image is damaged") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedError(f"{store.where}/{path} is not what the index of {index.image} names: the image is damaged")
    return data


def _none(store: Reader, name: str, version: str) -> str:
    if isinstance(store, PathStore) and version in store.versions(name):
        folder = store.root / "images" / name / version
        return f"{folder} has lost its index.json: restore it from a copy of the store, or delete that folder"
    return f"store {store.where} has no image {name}/{version}{_there_is(store, name)}"


def _there_is(store: Reader, name: str) -> str:
    if not isinstance(store, PathStore):
        return ""
    versions = store.versions(name)
    known = ", ".join(f"{name}/{version}" for version in versions[-5:]) if versions else ", ".join(store.images())
    return f"; there is: {known or 'nothing yet'}"


def _folders(path: Path) -> list[Path]:
    return [item for item in path.iterdir() if NAME.fullmatch(item.name) and item.is_dir()] if path.is_dir() else []


def _arrival(version: Path) -> tuple[float, str]:
    """Return what orders versions: when the store got one, whatever time the master had."""
    try:
        return (version / "index.json").stat().st_mtime, version.name
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
