# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store in a bucket of an S3 server, read with botocore, the library of AWS.

botocore is not in automation unless it was put there, and takes long to load, so that it is imported only for such a store.
"""

from __future__ import annotations

import urllib.parse
from contextlib import closing
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError, UnreachableError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.access import Access
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import FileStore

_TIMEOUT = 30
_TRIES = 4
# Servers that have no regions accept this one; that of AWS is in the name of its endpoint.
_REGION = "us-east-1"
_AWS = ".amazonaws.com"


class S3Store(FileStore):
    """A store in a bucket, such as C(s3+https://server/bucket/folder), as desync writes it.

    :param access: Without one, it is a bucket that everybody may read.
    """

    def __init__(self, url: str, access: Access) -> None:
        super().__init__(url.rstrip("/"))
        parts = urllib.parse.urlsplit(self.where)
        self._bucket, _slash, folder = parts.path.lstrip("/").partition("/")
        if not parts.hostname or not self._bucket:
            raise ImagingError(
                f"store {self.where}: name server and bucket: s3+https://SERVER/BUCKET or s3+https://SERVER/BUCKET/FOLDER"
            )
        if bool(access.access_key) != bool(access.secret_key):
            raise ImagingError(f"store {self.where}: access_key and secret_key belong together: say both, or none")
        self._signs = bool(access.access_key)
        self._folder = f"{folder}/" if folder else ""
        try:
            import botocore
            import botocore.config
            import botocore.exceptions
            import botocore.session
        except ImportError:
            raise ImagingError(
                f"store {self.where}: the Python library botocore is not installed here: install python3-botocore, or put it into"
                " automation by automation_image_extra_packages"
            ) from None
        self._errors = botocore.exceptions
        session = botocore.session.Session()
        # Nothing but what was said: no files or metadata services are searched for other credentials.
        session.set_credentials(access.access_key, access.secret_key)
        self._client = session.create_client(
            "s3",
            region_name=_region(parts.hostname),
            endpoint_url=f"{parts.scheme[len('s3+') :]}://{parts.netloc}",
            config=botocore.config.Config(
                signature_version="s3v4" if self._signs else botocore.UNSIGNED,
                s3={"addressing_style": "path"},
                connect_timeout=_TIMEOUT,
                read_timeout=_TIMEOUT,
                retries={"total_max_attempts": _TRIES, "mode": "standard"},
                max_pool_connections=16,
            ),
        )

    def read(self, path: str, most: int) -> bytes:
        """Return an object, trying again when the server does not answer or has trouble of its own."""
        where = f"{self.where}/{path}"
        try:
            answer: dict[str, Any] = self._client.get_object(Bucket=self._bucket, Key=self._folder + path)
            with closing(answer["Body"]) as body:
                return self._take(path, body.read, most)
        except self._errors.ClientError as error:
            raise self._refused(where, error.response) from None
        except (self._errors.IncompleteReadError, self._errors.ResponseStreamingError) as error:
            raise DamagedError(f"{where}: {error}") from error
        except (self._errors.BotoCoreError, self._errors.HTTPClientError) as error:
            raise UnreachableError(f"{self.where}: the store does not answer: {error}") from error

    def _refused(self, where: str, response: dict[str, Any]) -> Exception:
        """Return the error for an answer that is no object. The server's own words are left out: they repeat what was signed."""
        status, code = response["ResponseMetadata"]["HTTPStatusCode"], str(response["Error"].get("Code", ""))[:40]
        if code == "NoSuchBucket":
            return ImagingError(f"store {self.where}: there is no bucket {self._bucket!r}: correct the address")
        if status == 404:
            return FileNotFoundError(where)
        # Without a signature some servers do not even understand what is wanted.
        if status in (401, 403) or (status == 400 and not self._signs):
            return ImagingError(
                f"{where}: the server refuses it (HTTP {status} {code}): check access_key and secret_key, and that they may read"
                f" the bucket {self._bucket!r}"
            )
        if status >= 500:
            return UnreachableError(f"{self.where}: the store does not answer: HTTP {status} {code} (tried {_TRIES} times)")
        return ImagingError(f"{where}: the server answers HTTP {status} {code}: check the address")


def _region(host: str) -> str:
    """Return the region that AWS wants to have signed, as in C(s3.eu-central-1.amazonaws.com)."""
    words = host.split(".")
    return words[1] if host.endswith(_AWS) and len(words) > 3 else _REGION
