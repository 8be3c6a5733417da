# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The descriptions of images as a store has them: which version is the latest, indexes, chunk tables."""

from __future__ import annotations

import hashlib

from ansible_collections.reimage.lab.plugins.module_utils.imaging import caibx
from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import Ids
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError, MissingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index, Region, decode
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import INDEX, LATEST, check_name, description_path


def resolve(store: Store, name: str, version: str) -> str:
    """Return the version that C(latest) means; any other version is returned as it is."""
    if version != LATEST:
        return check_name("version", version)
    return check_name("version", store.description(name, "", LATEST).decode(errors="replace").strip())


def latest(store: Store, name: str) -> str:
    """Return the version that is called C(latest), nothing if none is."""
    try:
        return resolve(store, name, LATEST)
    except ImagingError:
        return ""


def read_index(store: Store, name: str, version: str, digest: str = "") -> tuple[Index, str]:
    """Return an index and its digest, the SHA-256 of its file in hex.

    :param digest: What the digest must be, if that is known from a trusted place.
    """
    version = resolve(store, name, version)
    data = store.description(name, version, INDEX)
    where = f"{store.where}/{description_path(name, version, INDEX)}"
    found = hashlib.sha256(data).hexdigest()
    if digest and found != digest.lower():
        raise DamagedError(f"{where} is not the index that was asked for: its SHA-256 is {found}, not {digest}")
    index = decode(data, where)
    if (index.name, index.version) != (name, version):
        raise ImagingError(f"{where} describes another image, {index.image}")
    return index, found


def read_ids(store: Store, index: Index, region: Region) -> Ids:
    """Return the chunk ids of a partition, from the chunk table that the index names."""
    return caibx.decode(_read(store, index, region.file, region.caibx_sha256), region.size, region.file)


def read_blake3(store: Store, index: Index, region: Region) -> Ids | None:
    """Return the BLAKE3 hashes of the chunks of a partition, if whoever captured it could make them."""
    if not region.blake3_sha256:
        return None
    found = Ids(_read(store, index, region.blake3_file, region.blake3_sha256))
    if len(found) != region.chunks:
        raise ImagingError(f"{region.blake3_file} of {index.image} does not fit {region.chunks} chunks: the image is damaged")
    return found


def _read(store: Store, index: Index, file: str, sha256: str) -> bytes:
    try:
        data = store.description(index.name, index.version, file)
    except MissingError as error:
        raise MissingError(f"{error}: the image is damaged") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        where = f"{store.where}/{description_path(index.name, index.version, file)}"
        raise DamagedError(f"{where} is not what the index of {index.image} names: the image is damaged")
    return data
