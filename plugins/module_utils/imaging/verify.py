# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the images of a store are whole: every chunk there, and what its name says."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial

from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE, chunk_bounds
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.hashing import zeros_sha256
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Callback, Meter
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_blake3, read_ids, read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.fetch import Fetcher
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import LATEST
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each, threads


@dataclass
class Report:
    """What was looked at, and what is wrong: damaged chunks with the reason, and for each image that they hurt, why."""

    images: list[str] = field(default_factory=list)
    chunks_total: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    hurt: dict[str, str] = field(default_factory=dict)


def verify_image(store: Store, name: str, version: str = "", digest: str = "", callback: Callback | None = None) -> Report:
    """Read all chunks of one image of any store.

    :param version: By default the latest.
    :param digest: What the digest of its index must be, if that is known from a trusted place.
    :raises ImagingError: There is no such image, or the store cannot be reached; or no name was said.
    """
    if not name:
        raise ImagingError(f"store {store.where}: only a folder lists its images: name one")
    index = Sources([store]).first(lambda one: read_index(one, name, version or LATEST))[0]
    return _verify(store, [(index.name, index.version)], digest, callback)


def verify_store(
    store: PathStore, name: str = "", version: str = "", digest: str = "", callback: Callback | None = None
) -> Report:
    """Read all chunks of the images of a folder that match; without a name, of all images.

    :param digest: What the digest of an index must be, if that is known from a trusted place.
    :raises ImagingError: There is no such image.
    """
    return _verify(store, _matching(store, name, version), digest, callback)


def _verify(store: Store, wanted: list[tuple[str, str]], digest: str, callback: Callback | None) -> Report:
    report = Report()
    users: dict[bytes, list[str]] = {}
    lengths: dict[bytes, int] = {}
    sources = Sources([store])
    for image, one in wanted:
        report.images.append(f"{image}/{one}")
        try:
            _collect(sources, image, one, digest, users, lengths)
        except ImagingError as error:
            report.hurt[f"{image}/{one}"] = str(error)
    report.chunks_total = len(users)
    meter = Meter(store.where, callback)
    meter.start("verifying", len(users) * CHUNK_SIZE)
    fetcher = Fetcher(sources, "the store")
    lock = threading.Lock()

    def check(identifier: bytes) -> None:
        try:
            fetcher.get(identifier, lengths[identifier])
        except ImagingError as error:
            with lock:
                report.damaged[identifier.hex()] = str(error)
                for image in users[identifier]:
                    report.hurt.setdefault(image, f"chunk {identifier.hex()} is damaged or missing")
        meter.add(CHUNK_SIZE)

    each(iter(users), check, threads())
    return report


def _matching(store: PathStore, name: str, version: str) -> list[tuple[str, str]]:
    if name and version:
        return [(name, read_index(store, name, version)[0].version if version == LATEST else version)]
    found = [(image, one) for image in ([name] if name else store.images()) for one in store.versions(image)]
    if name and not found:
        read_index(store, name, LATEST)  # says what there is
    return found


def _collect(
    sources: Sources, image: str, version: str, digest: str, users: dict[bytes, list[str]], lengths: dict[bytes, int]
) -> None:
    index = sources.first(lambda store: read_index(store, image, version, digest)[0])
    for region in index.partitions:
        ids = sources.first(partial(read_ids, index=index, region=region))
        sources.first(partial(read_blake3, index=index, region=region))
        for number, identifier in enumerate(ids):
            images = users.setdefault(identifier, [])
            if index.image not in images:
                images.append(index.image)
            start, length = chunk_bounds(number, region.size)
            lengths[identifier] = length
            used = next(region.extents.within(start, start + length), None)
            if used is None and identifier != zeros_sha256(length):
                raise DamagedError(f"its index is damaged: it says that chunk {number} of partition {region.number} is free")
