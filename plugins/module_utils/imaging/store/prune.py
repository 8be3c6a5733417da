# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remove versions of images, and the chunks that no version needs, while others may be capturing and deploying.

What is safe is decided by age alone, by the store's own clock, so that nobody has to hold a lock. A version that is removed
disappears at once, but its description waits in C(staging/) for I(grace) seconds, and its chunks with it, for a deploy that reads
it. A chunk that no description names is removed when it is older than I(grace): a capture marks each chunk that it finds as new.

An image that is damaged does not stop the work on others. While it is not known which chunks it needs, no chunk is removed.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import check, parse
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import latest, read_ids, read_index, resolve
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore, read_file
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import FileStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import INDEX, LATEST, largest

GRACE = 24 * 3600
_REMOVED = "removed-"


@dataclass
class Pruned:
    """What was, or would be, removed; I(leftovers) counts what earlier removals and interrupted captures had left.

    I(warnings) names the images that are damaged.
    """

    versions: list[str] = field(default_factory=list)
    chunks: int = 0
    bytes_freed: int = 0
    leftovers: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Needs:
    """The names of the chunks that images need; whether these are all; the folders of images that nobody can deploy."""

    chunks: set[str] = field(default_factory=set)
    complete: bool = True
    damaged: set[Path] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)


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
    :param keep: How many of the newest other versions of an image to keep, and the one that is called C(latest); 0 for all. A
        damaged one does not count, and is removed only if I(versions) has it.
    :param grace: Seconds for which what others may still need stays.
    :raises ImagingError: There is no such version.
    """
    before = _now(store, dry_run=dry_run) - grace
    staged = _entries(store.root / "staging")
    leftovers = [path for path, _size in _older(staged, before)]
    waiting = [path for path in staged if path.name.startswith(_REMOVED) and path not in leftovers]
    # All is read before anything is removed, also what is about to wait.
    needs = _needs(store, [*_published(store), *waiting])
    doomed = _doomed(store, name, versions, keep, needs.damaged)
    result = Pruned([f"{image}/{version}" for image, version in doomed], warnings=needs.warnings)
    if not dry_run:
        for image, version in doomed:
            _remove(store, image, version, needs.damaged)
    for path, size in _older(_chunks(store), before):
        if path.name.startswith("."):
            leftovers.append(path)
        elif needs.complete and path.name not in needs.chunks and (dry_run or _delete(path, before)):
            result.chunks += 1
            result.bytes_freed += size
    result.leftovers = len(leftovers)
    if not dry_run:
        _clear(leftovers)
    return result


def _now(store: PathStore, *, dry_run: bool) -> float:
    try:
        return store.now()
    except ImagingError:
        if not dry_run:
            raise
        return time.time()  # a store that cannot be written does not tell its clock


def _doomed(store: PathStore, name: str, versions: Sequence[str], keep: int, damaged: set[Path]) -> list[tuple[str, str]]:
    """Return image and version of what is to be removed, each once."""
    if keep < 0:
        raise ImagingError(f"keep {keep}: say how many versions to keep, or 0 for all")
    doomed = dict.fromkeys((name, _existing(store, name, version)) for version in versions)
    for image in ([name] if name else store.images()) if keep else []:
        sound = [version for version in store.versions(image) if _folder(store, image, version) not in damaged]
        left = [version for version in sound if (image, version) not in doomed]
        doomed.update(dict.fromkeys((image, version) for version in left[:-keep] if version != latest(store, image)))
    return list(doomed)


def _existing(store: PathStore, name: str, version: str) -> str:
    """Return a version that there is, be it damaged or not."""
    found = resolve(store, name, version)
    return found if found in store.versions(name) else read_index(store, name, found)[0].version


def _folder(store: PathStore, image: str, version: str) -> Path:
    return store.root / "images" / image / version


def _published(store: PathStore) -> Iterator[Path]:
    return (_folder(store, image, version) for image in store.images() for version in store.versions(image))


def _needs(store: PathStore, folders: Iterable[Path]) -> _Needs:
    """Return what images need, wherever in the store their descriptions are."""
    needs = _Needs()
    for folder in folders:
        files = _Folder(store, folder)
        try:
            index = parse(files.read(INDEX, largest(INDEX)), INDEX)
            tables = {region.file for region in index.partitions}
            if not tables or tables != {path.name for path in folder.glob("p*.caibx")}:
                raise DamagedError(f"its {INDEX} does not name the chunk tables that it has")
            for region in index.partitions:
                needs.chunks.update(f"{identifier.hex()}.cacnk" for identifier in read_ids(files, index, region))
        except (FileNotFoundError, ImagingError) as error:
            reason = f"it has lost its {INDEX}" if isinstance(error, FileNotFoundError) else str(error)
            needs.complete = False
            needs.damaged.add(folder)
            needs.warnings.append(
                f"no chunk is removed, because it is not known which ones {folder} needs: {reason}."
                " Restore it from a copy of the store, or remove that version"
            )
            continue
        try:
            check(index, INDEX)
        except DamagedError as error:
            needs.damaged.add(folder)
            needs.warnings.append(f"{folder} cannot be deployed, and keeps its chunks until it is removed by name: {error}")
    return needs


class _Folder(FileStore):
    """The description of one image, in whatever folder it is."""

    def __init__(self, store: PathStore, folder: Path) -> None:
        super().__init__(str(folder))
        self._root = store.root
        self._folder = folder.relative_to(store.root)

    def read(self, path: str, most: int) -> bytes:
        return read_file(self._root, str(self._folder / Path(path).name), most)


def _remove(store: PathStore, image: str, version: str, damaged: set[Path]) -> None:
    """Have a version disappear for all who ask for it from now on."""
    source = _folder(store, image, version)
    target = store.root / "staging" / f"{_REMOVED}{image}-{version}-{time.time_ns()}"
    try:
        store.mark(source)
        source.rename(target)
        _update_latest(store, image, damaged)
    except OSError as error:
        raise ImagingError(f"{image}/{version} cannot be removed from {store.where}: {error.strerror}") from error


def _update_latest(store: PathStore, image: str, damaged: set[Path]) -> None:
    """Have C(latest) name a version that is there, a sound one if possible, and nothing be left of an image without versions."""
    folder = store.root / "images" / image
    if not store.versions(image):
        (folder / LATEST).unlink(missing_ok=True)
        with suppress(OSError):  # a capture published a version at this moment
            folder.rmdir()
    left = store.versions(image)
    if left and latest(store, image) not in left:
        sound = [version for version in left if folder / version not in damaged]
        store.write(folder / LATEST, (sound or left)[-1].encode())


def _entries(folder: Path) -> list[Path]:
    # What a link points to is not the store's, and nothing of it is removed.
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _chunks(store: PathStore) -> Iterator[Path]:
    """Yield the chunks, and what writers that were interrupted left beside them."""
    for folder in _entries(store.root / "chunks"):
        yield from (path for path in _entries(folder) if path.suffix == ".cacnk" or path.name.startswith("."))


def _older(paths: Iterable[Path], before: float) -> Iterator[tuple[Path, int]]:
    """Yield path and size of what was written and marked before a time, unless it has just gone."""
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if status.st_mtime < before:
            yield path, status.st_size


def _delete(path: Path, before: float) -> bool:
    """Remove a chunk, unless a capture marked it at the last moment."""
    aside = path.with_name(f".{path.name}.pruned")
    try:
        path.rename(aside)
        if aside.stat().st_mtime >= before:
            aside.rename(path)
            return False
        aside.unlink()
    except FileNotFoundError:  # another prune was quicker
        return False
    except OSError as error:
        raise _not_removed(path, error) from error
    return True


def _clear(leftovers: list[Path]) -> None:
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _not_removed(path, error) from error


def _not_removed(path: Path, error: OSError) -> ImagingError:
    return ImagingError(f"{path} cannot be removed: {error.strerror}. Run it again where that is allowed")
