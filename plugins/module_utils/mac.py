# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""MAC addresses: lower case with colons in data, with dashes in file names and URLs."""

from __future__ import annotations

import re

from ansible_collections.reimage.lab.plugins.module_utils.errors import InvalidNameError

_PAIR = "[0-9a-f]{2}"
# As Linux and most labels write it, as Windows does, as Cisco does, and without separators.
_NOTATIONS = re.compile(rf"{_PAIR}(:{_PAIR}){{5}}|{_PAIR}(-{_PAIR}){{5}}|({_PAIR}){{2}}(\.({_PAIR}){{2}}){{2}}|({_PAIR}){{6}}")


def parse_mac(text: str) -> str:
    """Return a MAC address as C(aa:bb:cc:dd:ee:ff), from any of the usual notations, in either case.

    :raises InvalidNameError: This is not the address of one network card.
    """
    plain = text.strip().lower()
    if not _NOTATIONS.fullmatch(plain):
        raise InvalidNameError(f"{text!r} is not a MAC address: write it like 52:54:00:77:01:01")
    digits = re.sub(r"[:.-]", "", plain)
    if int(digits[:2], 16) & 1 or int(digits, 16) == 0:
        raise InvalidNameError(f"{text!r} is not the MAC address of a machine: it is a group address, or all zero")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def dashed(mac: str) -> str:
    """Return a parsed MAC address as it stands in file names and URLs."""
    return mac.replace(":", "-")
