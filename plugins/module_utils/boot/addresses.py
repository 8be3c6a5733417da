# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""IP addresses: which ones a machine can be reached at, and which are this server's own."""

from __future__ import annotations

import ipaddress
import json
import os
from typing import Any, Iterable, Union

from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.command import run

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

# IPv4: this network, loopback, link-local, multicast, reserved and broadcast.
_NO_MACHINES_4 = tuple(map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")))
# IPv6: global and unique local addresses only. That leaves out IPv4-mapped addresses and NAT64; Teredo and 6to4 carry an IPv4
# address inside too.
_MACHINES_6 = tuple(map(ipaddress.IPv6Network, ("2000::/3", "fc00::/7")))
_NO_MACHINES_6 = tuple(map(ipaddress.IPv6Network, ("2001::/32", "2002::/16")))


def parse_address(text: Any) -> Address:
    """Return the address of a machine.

    :raises BootError: It is no IP address, or one of a kind that a machine in a lab cannot be reached at.
    """
    try:
        # An IPv6 address may end in %, and then in anything at all.
        address = ipaddress.ip_address(text if isinstance(text, str) and "%" not in text else "")
    except ValueError as error:
        raise BootError(f"{text!r:.40} is not an IP address") from error
    if isinstance(address, ipaddress.IPv4Address):
        reachable = not any(address in network for network in _NO_MACHINES_4)
    else:
        reachable = any(address in network for network in _MACHINES_6)
        reachable = reachable and not any(address in network for network in _NO_MACHINES_6)
    if not reachable:
        raise BootError(f"{address} is not one that a machine can be reached at")
    return address


def parse_network(text: Any) -> Network:
    """Return a subnet, such as C(10.77.1.0/24)."""
    try:
        return ipaddress.ip_network(text if isinstance(text, str) else "", strict=False)
    except ValueError as error:
        raise BootError(f"{text!r:.60} is not a subnet: write it like 10.77.1.0/24") from error


def is_in(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address belongs to one of these subnets."""
    return any(ipaddress.ip_address(address) in network for network in networks)


def own_addresses() -> frozenset[str]:
    """Return all addresses of the computer that this runs on."""
    interfaces = json.loads(run(["ip", "-json", "address"]).stdout)
    return frozenset(info["local"] for interface in interfaces for info in interface["addr_info"] if "local" in info)


def controller() -> str:
    """Return where the run comes from, as this server sees it; nothing where there is no SSH, or sudo has dropped it."""
    return os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
