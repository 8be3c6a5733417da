# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is called how in a store, and how large it may be."""

from __future__ import annotations

import re

from ansible_collections.reimage.lab.plugins.module_utils.imaging.caibx import CHUNK_SIZE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError

LATEST = "latest"
INDEX = "index.json"
SIGNATURE = "index.json.sig"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Windows, and the shares that it serves, take these for devices, whatever follows behind a dot.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
# zstd adds less than this to what it cannot compress.
LARGEST_CHUNK = CHUNK_SIZE + (64 << 10)
# An index of all the extents that one may have takes 50 MB.
_LARGEST = {LATEST: 256, INDEX: 64 << 20, SIGNATURE: 64 << 10}
_LARGEST_TABLE = 1 << 30


def check_name(kind: str, name: str) -> str:
    """Return I(name) if it can be the name of an image or a version, which are folder names and parts of URLs."""
    if not NAME.fullmatch(name):
        raise ImagingError(
            f"{kind} {name!r:.140} cannot be used: letters, digits, '.', '_' and '-', at most 128, not starting with a sign"
        )
    return name


def check_new_name(kind: str, name: str) -> str:
    """Return I(name) if something can be called so from now on, on every share that a store may be on."""
    check_name(kind, name)
    if name.endswith("."):
        raise ImagingError(f"{kind} {name!r} cannot be used: shares drop the dot at its end; leave it out")
    if _DEVICE.fullmatch(name):
        raise ImagingError(f"{kind} {name!r} cannot be used: for Windows and its shares it is a device; choose another")
    return name


def chunk_path(identifier: bytes) -> str:
    """Return where a chunk is, below the store."""
    name = identifier.hex()
    return f"chunks/{name[:4]}/{name}.cacnk"


def description_path(name: str, version: str, file: str) -> str:
    """Return where a file of an image's description is, below the store.

    :param version: Nothing for the file C(LATEST), which is of all versions.
    """
    folder = f"images/{check_name('image name', name)}"
    return f"{folder}/{check_name('version', version)}/{file}" if version else f"{folder}/{file}"


def table_file(number: int) -> str:
    """Return the name of the chunk table of a partition."""
    return f"p{number}.caibx"


def blake3_file(number: int) -> str:
    """Return the name of the file with a BLAKE3 hash for each chunk of a partition, beside the chunk table."""
    return f"p{number}.blake3"


def largest(file: str) -> int:
    """Return how many bytes a file of a description may have."""
    return _LARGEST.get(file, _LARGEST_TABLE)
