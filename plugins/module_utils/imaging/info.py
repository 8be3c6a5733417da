# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people and playbooks want to know of the images of a store."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.http_store import HttpStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store import (
    LATEST,
    PathStore,
    read_ids,
    read_index,
)


def describe(store: PathStore | HttpStore, name: str = "", version: str = "", *, sizes: bool = True) -> list[dict[str, Any]]:
    """Return the images that match, oldest first.

    :param sizes: Also say what each shares with the others, for which the chunk tables of all of them are read.
    :raises ImagingError: An image or a version that was named does not exist.
    """
    if isinstance(store, HttpStore):
        if not name:
            raise ImagingError(f"store {store.where}: a web server does not list its images: name one")
        return [_summary(*read_index(store, name, version or LATEST))]
    if name:
        wanted = read_index(store, name, version or LATEST)[0].version  # says what there is, if there is none
        version = wanted if version else ""
    images = store.images() if sizes or not name else [name]
    everything = [read_index(store, image, one) for image in images for one in store.versions(image)]
    found = [item for item in everything if name in ("", item[0].name) and version in ("", item[0].version)]
    more = _sizes(store, [index for index, _digest in everything]) if sizes else {}
    ordered = sorted(found, key=lambda item: (item[0].name, item[0].created))
    return [{**_summary(index, digest), **more.get(index.image, {})} for index, digest in ordered]


def _sizes(store: PathStore, indexes: list[Index]) -> dict[str, dict[str, int]]:
    """Return for each image the bytes of the store that it shares with others, and those that are its own."""
    chunks = {index.image: {one for region in index.partitions for one in read_ids(store, index, region)} for index in indexes}
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
