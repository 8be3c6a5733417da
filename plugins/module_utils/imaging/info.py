# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people and playbooks want to know of the images of a store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import latest, read_ids, read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import LATEST


@dataclass
class Described:
    """The images that match, by name and then oldest first, and what could not be read."""

    images: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def describe_one(store: Store, name: str, version: str = "") -> Described:
    """Describe one image of any store.

    :param version: By default the latest.
    :raises ImagingError: It does not exist, or is damaged; or no name was said.
    """
    if not name:
        raise ImagingError(f"store {store.where}: only a folder lists its images: name one")
    return Described([_summary(*read_index(store, name, version or LATEST))])


def describe(store: PathStore, name: str = "", version: str = "", *, sizes: bool = True) -> Described:
    """Describe the images of a folder that match, as far as they can be read.

    :param sizes: Also say what each shares with the others, for which the chunk tables of all of them are read.
    :raises ImagingError: An image or a version that was named does not exist, or is damaged.
    """
    if name and (version or not store.versions(name)):
        one = read_index(store, name, version or LATEST)  # says what there is, if there is none
        version = one[0].version
        if not sizes:
            return Described([_summary(*one)])
    result = Described()
    everything: list[tuple[Index, str]] = []
    for image in store.images() if sizes or not name else [name]:
        for item in store.versions(image):
            try:
                everything.append(read_index(store, image, item))
            except ImagingError as error:
                result.warnings.append(f"{image}/{item} is left out: {error}")
    more = _sizes(store, [index for index, _digest in everything], result.warnings) if sizes else {}
    for index, digest in everything:
        wanted = latest(store, index.name) if version == LATEST else version
        if name in ("", index.name) and wanted in ("", index.version):
            result.images.append({**_summary(index, digest), **more.get(index.image, {})})
    return result


def _sizes(store: PathStore, indexes: list[Index], warnings: list[str]) -> dict[str, dict[str, int]]:
    """Return for each image the bytes of the store that it shares with others, and those that are its own."""
    chunks: dict[str, set[bytes]] = {}
    for index in indexes:
        try:
            chunks[index.image] = {one for region in index.partitions for one in read_ids(store, index, region)}
        except ImagingError as error:
            warnings.append(f"the sizes of {index.image} are left out: {error}")
    users = Counter(chain.from_iterable(chunks.values()))
    stored = {identifier: store.chunk_size(identifier) for identifier in users}
    return {
        image: {
            "bytes_stored": sum(stored[one] for one in ids),
            "bytes_shared": sum(stored[one] for one in ids if users[one] > 1),
            "bytes_own": sum(stored[one] for one in ids if users[one] == 1),
        }
        for image, ids in chunks.items()
    }


def _summary(index: Index, digest: str) -> dict[str, Any]:
    return {
        "name": index.name,
        "version": index.version,
        "digest": digest,
        "created": index.created,
        "description": index.description,
        "disk_size": index.disk_size,
        "disk_size_min": index.table().smallest_disk(index.end),
        "bytes_used": index.bytes_used,
        "bytes_stored": index.bytes_stored,
        "chunks_total": index.chunks_total,
        "partitions": [
            {key: getattr(region, key) for key in ("number", "filesystem", "label", "size")} for region in index.partitions
        ],
    }
