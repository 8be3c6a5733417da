# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remove versions of images, and the chunks that no version needs, while others may be capturing and deploying.

What is safe is decided by age alone, so that nobody has to hold a lock. A version that is removed disappears at once, but its
description waits in C(staging/) for I(grace) seconds, and its chunks with it, for a deploy that reads it. A chunk that no
description names is removed when it is older than I(grace): a capture marks each chunk that it finds as new.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import decode
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store import LATEST, PathStore, read_ids, read_index

GRACE = 24 * 3600
_REMOVED = "removed-"


@dataclass
class Pruned:
    """What was, or would be, removed."""

    versions: list[str] = field(default_factory=list)
    chunks: int = 0
    bytes_freed: int = 0


def prune(
    store: PathStore,
    name: str = "",
    versions: Sequence[str] = (),
    keep: int = 0,
    grace: float = GRACE,
    *,
    dry_run: bool = False,
) -> Pruned:
    """Remove versions, and all chunks that nobody needs any more.

    :param name: The image that I(versions) or I(keep) are about; without it, I(keep) is about every image.
    :param versions: Versions to remove.
    :param keep: How many of the newest versions of an image to keep; 0 for all.
    :param grace: Seconds for which what others may still need stays.
    :raises ImagingError: There is no such version, or an index is damaged, so that nobody knows what it needs.
    """
    result = Pruned()
    doomed = list(_doomed(store, name, versions, keep))
    result.versions = [f"{image}/{version}" for image, version in doomed]
    # All that stays is read before anything is removed.
    needed = _needed(store, doomed)
    for image, version in doomed:
        if not dry_run:
            _remove(store, image, version)
    for folder in _waiting(store):
        if time.time() - folder.stat().st_mtime > grace:
            if not dry_run:
                shutil.rmtree(folder)
        else:
            needed |= _needed_by(folder)
    for path in _chunks(store):
        status = path.stat()
        if path.name not in needed and time.time() - status.st_mtime > grace and _delete(path, grace, dry_run=dry_run):
            result.chunks += 1
            result.bytes_freed += status.st_size
    return result


def _doomed(store: PathStore, name: str, versions: Sequence[str], keep: int) -> Iterator[tuple[str, str]]:
    for version in versions:
        yield name, read_index(store, name, version)[0].version
    for image in ([name] if name else store.images()) if keep else []:
        found = sorted((read_index(store, image, one)[0] for one in store.versions(image)), key=lambda index: index.created)
        yield from ((image, index.version) for index in found[:-keep])


def _needed(store: PathStore, doomed: list[tuple[str, str]]) -> set[str]:
    """Return the names of the chunks of all images that stay."""
    found = [(image, version) for image in store.images() for version in store.versions(image)]
    stay = [store.root / "images" / image / version for image, version in found if (image, version) not in doomed]
    return {name for folder in stay for name in _needed_by(folder)}


def _needed_by(folder: Path) -> set[str]:
    """Return the names of the chunks of one image, wherever its description is."""
    reader = _Folder(folder)
    index = decode(reader.get("index.json"), str(folder / "index.json"))
    return {f"{identifier.hex()}.cacnk" for region in index.partitions for identifier in read_ids(reader, index, region)}


class _Folder:
    """The description of one image, in whatever folder it is."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self._folder = folder

    def get(self, path: str) -> bytes:
        """Return a file of the image."""
        return (self._folder / Path(path).name).read_bytes()


def _remove(store: PathStore, image: str, version: str) -> None:
    """Have a version disappear for all who ask for it from now on."""
    source = store.root / "images" / image / version
    target = store.root / "staging" / f"{_REMOVED}{image}-{version}-{time.time_ns()}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        target.touch()
    except OSError as error:
        raise ImagingError(f"{image}/{version} cannot be removed from {store.where}: {error.strerror}") from error
    left = sorted((read_index(store, image, one)[0] for one in store.versions(image)), key=lambda index: index.created)
    if left:
        store.write(source.parent / LATEST, left[-1].version.encode())
    else:
        shutil.rmtree(source.parent, ignore_errors=True)


def _waiting(store: PathStore) -> list[Path]:
    return sorted((store.root / "staging").glob(f"{_REMOVED}*"))


def _chunks(store: PathStore) -> Iterator[Path]:
    for folder in sorted((store.root / "chunks").iterdir()) if (store.root / "chunks").is_dir() else []:
        yield from sorted(folder.glob("*.cacnk"))


def _delete(path: Path, grace: float, *, dry_run: bool) -> bool:
    """Remove a chunk, unless a capture marked it at the last moment."""
    if dry_run:
        return True
    aside = path.with_suffix(".pruned")
    path.rename(aside)
    if time.time() - aside.stat().st_mtime <= grace:
        aside.rename(path)
        return False
    aside.unlink()
    return True
