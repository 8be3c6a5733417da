# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The programs that firmware fetches over the network, and that run the script of a boot target."""

from __future__ import annotations

from enum import Enum


class Loader(Enum):
    """A boot loader; its value is the suffix of the scripts that it reads."""

    IPXE = "ipxe"
    GRUB = "grub"
