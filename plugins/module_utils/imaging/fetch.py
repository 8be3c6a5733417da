# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chunks from a store, each checked on arrival; a damaged or missing one is fetched again, from elsewhere if there is one."""

from __future__ import annotations

import threading
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.hashing import Digest, sha256
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store import Reader, chunk_path
from ansible_collections.reimage.lab.plugins.module_utils.imaging.zstd import Codec

_TRIES = 3


class Fetcher:
    """Threads may share it."""

    def __init__(self, stores: Sequence[Reader], image: str) -> None:
        self._stores = stores
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
        reasons = []
        for store in self._stores:
            for _attempt in range(_TRIES):
                try:
                    packed = store.get(chunk_path(identifier))
                    data = self._codec.decompress(packed, CHUNK_SIZE)
                except FileNotFoundError:
                    reason = "it is missing"
                    break
                except DamagedError as error:
                    reason = str(error)
                    continue
                except ImagingError as error:
                    reason = str(error)
                    break
                if len(data) == length and digest(data) == (expected or identifier):
                    with self._lock:
                        self.bytes_fetched += len(packed)
                    return data
                reason = "its content is not what its name says"
            reasons.append(f"{store.where}: {reason}")
        raise ImagingError(
            f"chunk {identifier.hex()} of {self._image} cannot be had from {'; '.join(reasons)}."
            " Nothing wrong was written; restore the chunk, or capture the image again"
        )
