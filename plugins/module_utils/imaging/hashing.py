# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Digests of chunks, 32 bytes each.

A chunk's id is its SHA-256. BLAKE3 is there beside it because most lab PCs have no instructions for SHA, and comparing a disk is
hashing it; without the library everything works, only slower. Zeros, of which a new disk is full, are known at sight.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Callable, Union

from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE

if TYPE_CHECKING:
    import mmap

    Buffer = Union[bytes, bytearray, memoryview, mmap.mmap]

try:
    import blake3 as _library
except ImportError:
    _library = None  # type: ignore[assignment]

HAS_BLAKE3 = _library is not None


def sha256(data: Buffer) -> bytes:
    """Return the SHA-256."""
    return zeros_sha256(len(data)) if is_zeros(data) else hashlib.sha256(data).digest()


def blake3(data: Buffer) -> bytes:
    """Return the BLAKE3 hash; only where C(HAS_BLAKE3)."""
    return _zeros_blake3(len(data)) if is_zeros(data) else _library.blake3(data).digest()


def is_zeros(data: Buffer) -> bool:
    """Whether there is nothing but zeros in at most a chunk. It costs nothing where there is something else."""
    return _ZEROS.startswith(data)


@lru_cache(maxsize=16)
def zeros_sha256(length: int) -> bytes:
    """Return the SHA-256 of that many zeros, at most a chunk, without looking at any."""
    return hashlib.sha256(ZEROS[:length]).digest()


@lru_cache(maxsize=16)
def _zeros_blake3(length: int) -> bytes:
    return _library.blake3(ZEROS[:length]).digest()


_ZEROS = bytes(CHUNK_SIZE)
ZEROS = memoryview(_ZEROS)
Digest = Callable[["Buffer"], bytes]
