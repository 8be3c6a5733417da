# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""zstd, with a compressor and a decompressor for each thread."""

from __future__ import annotations

import threading

from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]


DEFAULT_LEVEL = 3
# For one chunk at a time: a fifth faster than the level's own, for its tables fit into the cache, and not larger.
_TUNED = {"hash_log": 16, "chain_log": 14, "min_match": 4}
# What level 19 takes for a stream of unknown length; a frame that asks for more memory would get it for each thread.
_LARGEST_WINDOW = 8 << 20


class Codec:
    """Compresses and decompresses; threads may share it."""

    def __init__(self, level: int = DEFAULT_LEVEL) -> None:
        if zstandard is None:
            raise ImagingError("the Python library zstandard is not installed here: install python3-zstandard")
        self._level = level
        self._local = threading.local()

    def compress(self, data: bytes | bytearray | memoryview) -> bytes:
        """Return one zstd frame."""
        if not hasattr(self._local, "compressor"):
            tuned = _TUNED if self._level == DEFAULT_LEVEL else {}
            settings = zstandard.ZstdCompressionParameters.from_level(self._level, source_size=CHUNK_SIZE, **tuned)
            self._local.compressor = zstandard.ZstdCompressor(compression_params=settings)
        packed: bytes = self._local.compressor.compress(data)
        return packed

    def decompress(self, data: bytes, largest: int) -> bytes:
        """Return what a frame holds.

        :raises DamagedError: It is damaged, or holds more than I(largest) bytes.
        """
        if not hasattr(self._local, "decompressor"):
            self._local.decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        try:
            # The library believes a frame that states its size, whatever the limit, and allocates that much.
            stated = zstandard.frame_content_size(data)
            if stated > largest:
                raise DamagedError(f"it is damaged (it claims to hold {stated} bytes, more than the {largest} that it may)")
            plain: bytes = self._local.decompressor.decompress(data, max_output_size=largest)
        except zstandard.ZstdError as error:
            raise DamagedError(f"it is damaged ({error})") from error
        return plain
