# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The static addresses of network cards."""

    DOCUMENTATION = r"""
options:
  interfaces:
    description: Static addresses. A network card that is not listed uses what the image says, normally DHCP.
    type: list
    elements: dict
    default: []
    suboptions:
      mac:
        description: MAC address of the network card.
        type: str
        required: true
      addresses:
        description: Addresses with their prefixes, such as V(192.0.2.7/24).
        type: list
        elements: str
        required: true
      gateway:
        description: Address of the router.
        type: str
      dns:
        description: Addresses of name servers.
        type: list
        elements: str
        default: []
"""
