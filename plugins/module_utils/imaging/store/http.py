# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store behind a web server, which may be busy, be restarted, or be hostile."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.parse

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError, UnreachableError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import FileStore

# Seconds before each further try: a web server that is restarted is back after one of them.
PAUSES = (0.5, 2.0, 5.0)
_TIMEOUT = 30


class HttpStore(FileStore):
    """A store behind a web server. Each thread keeps one connection."""

    def __init__(self, url: str) -> None:
        super().__init__(url.rstrip("/"))
        self._url = urllib.parse.urlsplit(self.where)
        self._local = threading.local()

    def read(self, path: str, most: int) -> bytes:
        """Return a file, trying again when the server does not answer or has trouble of its own."""
        reason = ""
        for pause in (0.0, *PAUSES):
            time.sleep(pause)
            try:
                return self._get(path, most)
            except FileNotFoundError:
                raise
            except (OSError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
                self._local.connection = None
        raise UnreachableError(f"{self.where}: the store does not answer: {reason} (tried {1 + len(PAUSES)} times)")

    def _get(self, path: str, most: int) -> bytes:
        connection = self._connection()
        target = f"{self._url.path}/{urllib.parse.quote(path)}"
        connection.request("GET", target, headers=self._headers(target))
        response = connection.getresponse()
        body = self._body(response, path, most)
        if response.status >= 500:
            raise http.client.HTTPException(f"{path}: HTTP {response.status} {response.reason}")
        if response.status != 200:
            raise self._refusal(path, response.status, response.reason, body)
        return body

    def _headers(self, target: str) -> dict[str, str]:
        """Return what to say beside the path of a request."""
        return {}

    def _refusal(self, path: str, status: int, reason: str, body: bytes) -> Exception:
        """Return the error for an answer that is no file, and that asking again would not change."""
        if status == 404:
            return FileNotFoundError(path)
        return ImagingError(f"{self.where}/{path}: the web server answers HTTP {status} {reason}: check its configuration")

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            secure = self._url.scheme.endswith("https")
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            connection = self._local.connection = kind(self._url.netloc, timeout=_TIMEOUT)
        return connection

    def _body(self, response: http.client.HTTPResponse, path: str, most: int) -> bytes:
        try:
            body = self._take(path, response.read, most)
        except ImagingError:
            self._local.connection = None
            raise
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return body
