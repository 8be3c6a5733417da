# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MAC addresses: lower case with colons in data, with dashes in file names and URLs."""

from __future__ import annotations

import re

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError

_FORMS = re.compile(r"(?:[0-9a-f]{2}(?P<separator>[:-]))(?:[0-9a-f]{2}(?P=separator)){4}[0-9a-f]{2}|[0-9a-f]{12}")


def parse_mac(text: str) -> str:
    """Return a MAC address as C(aa:bb:cc:dd:ee:ff), from any of its usual spellings.

    :raises ReimageError: This is not the address of one Ethernet card.
    """
    plain = text.strip().lower()
    if not _FORMS.fullmatch(plain):
        raise ReimageError(f"{text!r} is not a MAC address: write it like 52:54:00:77:01:01")
    digits = plain.replace(":", "").replace("-", "")
    if int(digits[:2], 16) & 1 or int(digits, 16) == 0:
        raise ReimageError(f"{text!r} is not the MAC address of a machine: it is a group address, or all zero")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def dashed(mac: str) -> str:
    """Return a parsed MAC address as it stands in file names and URLs."""
    return mac.replace(":", "-")
