# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store in a bucket of an S3 server: HTTP whose requests are signed, by botocore, the library of AWS.

botocore is not in automation unless it was put there, and takes long to load, so that it is imported only for such a store.
"""

from __future__ import annotations

import re
from typing import Any, Callable

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.access import Access
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.http import HttpStore

# Servers that have no regions accept this one; that of AWS is in the name of its endpoint.
_REGION = "us-east-1"
_AWS = ".amazonaws.com"
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,60})</Code>")


class S3Store(HttpStore):
    """A store in a bucket, such as C(s3+https://server/bucket/folder), as desync writes it.

    :param access: Without one, it is a bucket that everybody may read.
    """

    def __init__(self, url: str, access: Access) -> None:
        super().__init__(url)
        self._bucket = self._url.path.lstrip("/").partition("/")[0]
        if not self._url.hostname or not self._bucket:
            raise ImagingError(
                f"store {self.where}: name server and bucket: s3+https://SERVER/BUCKET or s3+https://SERVER/BUCKET/FOLDER"
            )
        if bool(access.access_key) != bool(access.secret_key):
            raise ImagingError(f"store {self.where}: access_key and secret_key belong together: say both, or none")
        self._sign = _signer(self.where, self._url.hostname, access) if access.access_key else None

    def _headers(self, target: str) -> dict[str, str]:
        if not self._sign:
            return {}
        return self._sign(f"{self._url.scheme[len('s3+') :]}://{self._url.netloc}{target}")

    def _refusal(self, path: str, status: int, reason: str, body: bytes) -> Exception:
        # Of the server's own words only the code, for they repeat what was signed.
        found = _CODE.search(body[:4096])
        code = found[1].decode() if found else reason
        if code == "NoSuchBucket":
            return ImagingError(f"store {self.where}: there is no bucket {self._bucket!r}: correct the address")
        # Without a signature some servers do not even understand what is wanted.
        if status in (401, 403) or (status == 400 and not self._sign):
            return ImagingError(
                f"{self.where}/{path}: the server refuses it (HTTP {status} {code}): check access_key and secret_key, that they"
                f" may read the bucket {self._bucket!r}, and the clock"
            )
        return super()._refusal(path, status, code, body)


def _signer(where: str, host: str, access: Access) -> Callable[[str], dict[str, str]]:
    """Return what gives the headers of a signed request, given its URL."""
    try:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
    except ImportError:
        raise ImagingError(
            f"store {where}: the Python library botocore is not installed here: install python3-botocore, or put it into"
            " automation by automation_image_extra_packages"
        ) from None
    signature: Any = S3SigV4Auth(Credentials(access.access_key, access.secret_key), "s3", _region(host))

    def sign(url: str) -> dict[str, str]:
        request = AWSRequest("GET", url)
        signature.add_auth(request)
        return dict(request.headers.items())

    return sign


def _region(host: str) -> str:
    """Return the region that AWS wants to have signed, as in C(s3.eu-central-1.amazonaws.com)."""
    words = host.split(".")
    return words[1] if host.endswith(_AWS) and len(words) > 3 else _REGION
