# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which kind of store is behind what a person typed."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path
from typing import Callable

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.access import NOBODY, Access
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.http import HttpStore
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.s3 import S3Store

_KINDS: dict[str, Callable[[str, Access], Store]] = {
    "http": lambda url, _access: HttpStore(url),
    "https": lambda url, _access: HttpStore(url),
    "s3+http": S3Store,
    "s3+https": S3Store,
}
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://")


def is_folder(where: str) -> bool:
    """Whether it is a path, and no URL."""
    return not _URL.match(where)


def open_store(where: str, access: Access = NOBODY) -> Store:
    """Open a store for reading: a path, or a URL of a kind that is known."""
    url = _URL.match(where)
    if not url:
        return open_folder(where)
    if url[1] not in _KINDS:
        known = ", ".join(f"{scheme}://" for scheme in _KINDS)
        raise ImagingError(f"store {where}: {url[1]}:// is unknown; a store is a path, or begins with one of {known}")
    if "@" in where[url.end() :].partition("/")[0]:
        hidden = f"{url[0]}...@{where.rpartition('@')[2]}"
        raise ImagingError(f"store {hidden}: user and password do not belong into an address, which is in logs: see access_key")
    _refuse_malformed(where)
    return _KINDS[url[1]](where, access)


def open_folder(where: str) -> PathStore:
    """Open a store for listing and writing, which a URL is not."""
    if not is_folder(where):
        raise ImagingError(f"store {where}: capture to a folder or a mounted share; behind a URL it is only read")
    root = Path(where)
    if not root.is_dir():
        raise ImagingError(f"store {where}: there is no such folder; mount or create it, or correct the path")
    return PathStore(root)


def _refuse_malformed(url: str) -> None:
    """Whoever asked such an address for a file would be told that the server does not answer, or be given another file."""
    if not (url.isascii() and url.isprintable() and " " not in url):
        right = urllib.parse.quote(url, safe="%/:?#[]@!$&'()*+,;=")
        raise ImagingError(f"store {url!r:.300}: an address has no blank, and no letter beyond ASCII: write {right:.300}")
    try:
        parts = urllib.parse.urlsplit(url)
        complete = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ImagingError(f"store {url}: this is no address: {error}") from error
    if not complete or parts.query or parts.fragment:
        raise ImagingError(
            f"store {url}: name a server and a folder, and no query, as in {parts.scheme}://images.example.org/store"
        )
