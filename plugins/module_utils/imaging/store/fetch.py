# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chunks from stores, each checked on arrival; a damaged or missing one is fetched again, from elsewhere if there is one."""

from __future__ import annotations

import threading

from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.hashing import Digest, sha256
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import chunk_path
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources
from ansible_collections.reimage.lab.plugins.module_utils.imaging.zstd import Codec


class Fetcher:
    """Threads may share it."""

    def __init__(self, sources: Sources, image: str) -> None:
        self._sources = sources
        self._image = image
        self._codec = Codec()
        self._lock = threading.Lock()
        self.bytes_fetched = 0

    def get(self, identifier: bytes, length: int, digest: Digest = sha256, expected: bytes = b"") -> bytes:
        """Return the plain bytes of a chunk.

        :param length: How many it must have.
        :param digest: How to check it; C(expected) is what that must give, by default its id.
        :raises ImagingError: No store has it as it should be.
        """

        def read(store: Store) -> bytes:
            packed = store.chunk(identifier)
            try:
                data = self.unpack(packed, length, digest, expected or identifier)
            except DamagedError as error:
                raise DamagedError(f"{store.where}/{chunk_path(identifier)}: {error}") from error
            with self._lock:
                self.bytes_fetched += len(packed)
            return data

        try:
            return self._sources.first(read)
        except ImagingError as error:
            raise ImagingError(
                f"chunk {identifier.hex()} of {self._image} cannot be had from {error}."
                " Nothing wrong was written. To mend the store, delete that file if it is there, and capture the master again:"
                " a capture stores what is missing"
            ) from error

    def unpack(self, packed: bytes, length: int, digest: Digest, expected: bytes) -> bytes:
        """Return the plain bytes of a chunk that came from anywhere.

        :raises DamagedError: It is not what it must be.
        """
        data = self._codec.decompress(packed, CHUNK_SIZE)
        if len(data) != length or digest(data) != expected:
            raise DamagedError("its content is not what its name says")
        return data
