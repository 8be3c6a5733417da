# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people and playbooks want to know of the images of a store."""

from __future__ import annotations

from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store import (
    LATEST,
    HttpStore,
    PathStore,
    read_index,
    resolve,
)


def describe(store: PathStore | HttpStore, name: str = "", version: str = "") -> list[dict[str, Any]]:
    """Return the images that match, oldest first.

    :raises ImagingError: An image or a version that was named does not exist.
    """
    if isinstance(store, HttpStore):
        if not name:
            raise ImagingError(f"store {store.where}: a web server does not list its images: name one")
        version = version or LATEST
    if name and version:
        return [_summary(*read_index(store, name, version))]
    return _list(store, name) if isinstance(store, PathStore) else []


def _list(store: PathStore, name: str) -> list[dict[str, Any]]:
    if name:
        resolve(store, name, LATEST)
    found = [read_index(store, image, one) for image in ([name] if name else store.images()) for one in store.versions(image)]
    return [_summary(index, digest) for index, digest in sorted(found, key=lambda item: (item[0].name, item[0].created))]


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
