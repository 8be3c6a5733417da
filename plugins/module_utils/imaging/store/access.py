# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""By what a store knows who may read it."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.reimage.lab.plugins.module_utils.options import option


@dataclass(frozen=True)
class Access:
    """A key and its secret; without them, a store is one that everybody may read."""

    access_key: str = option(
        "The access key for stores behind S3 (C(s3+https://SERVER/BUCKET/FOLDER)). Without it, everybody may read the bucket.",
        default="",
        secret=False,
    )
    secret_key: str = option("The secret that belongs to O(access_key).", default="", secret=True)


NOBODY = Access()
