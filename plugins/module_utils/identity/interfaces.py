# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The static addresses of network cards, as a person declares them, for Windows and Linux."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Any, Mapping, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError, naming
from ansible_collections.reimage.lab.plugins.module_utils.mac import parse_mac
from ansible_collections.reimage.lab.plugins.module_utils.options import option, read


@dataclass(frozen=True)
class Interface:
    """The static addresses of one network card, whose MAC is as C(parse_mac) returns it."""

    mac: str = option("MAC address of the network card, in any usual notation.")
    addresses: Sequence[str] = option("Addresses with their prefixes, such as V(192.0.2.7/24).", kind="list")
    gateway: str = option("Address of the router, of IPv4 or of IPv6. One of IPv6 may be link-local, such as V(fe80::1).", "")
    dns: Sequence[str] = option("Addresses of name servers.", ())
    gateway6: str = option("Address of the router of IPv6, where O(interfaces[].gateway) is that of IPv4.", "")

    @property
    def gateways(self) -> list[str]:
        """The routers, at most one of each family."""
        return [gateway for gateway in (self.gateway, self.gateway6) if gateway]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found = {"mac": self.mac, "addresses": list(self.addresses), "gateway": self.gateway, "dns": list(self.dns)}
        return {**found, **({"gateway6": self.gateway6} if self.gateway6 else {})}


@dataclass(frozen=True)
class Addresses:
    """The option C(interfaces) of the modules that give a system its identity."""

    interfaces: Sequence[Interface] = option(
        "Static addresses. A network card that is not listed uses what the image says, normally DHCP.", (), of=Interface
    )


def interfaces_from(items: Sequence[Mapping[str, Any]] | None) -> list[Interface]:
    """Return what a module's option C(interfaces) declares.

    :raises IdentityError: It cannot be.
    """
    with naming("interfaces"):
        given = read(Addresses, {"interfaces": items}).interfaces
        found = [replace(interface, mac=parse_mac(interface.mac)) for interface in given]
    macs = [interface.mac for interface in found]
    for interface in found:
        _check(interface)
        if macs.count(interface.mac) > 1:
            raise IdentityError(f"interfaces: {interface.mac} is declared twice")
    return found


def _check(interface: Interface) -> None:
    try:
        networks = [ipaddress.ip_interface(address) for address in interface.addresses]
        if not all(address.partition("/")[2].isdigit() for address in interface.addresses) or not networks:
            raise ValueError("an address needs a prefix, such as 192.0.2.7/24")
        for server in interface.dns:
            ipaddress.ip_address(server)
        gateways = [ipaddress.ip_address(gateway) for gateway in interface.gateways]
        if "%" in "".join([*interface.addresses, *interface.dns, *interface.gateways]):
            raise ValueError("an address has no zone here: the MAC address says which network card is meant")
        if interface.gateway6 and [gateway.version for gateway in gateways] not in ([6], [4, 6]):
            raise ValueError("gateway6 is the router of IPv6, and gateway beside it that of IPv4")
    except ValueError as error:
        raise IdentityError(f"interfaces: {interface.mac}: {error}") from error
    for gateway in gateways:
        own = [network for network in networks if network.version == gateway.version]
        # A router of IPv6 announces its link-local address, which is in the network of no address of a person's.
        near = gateway.version == 6 and gateway.is_link_local and own
        if not near and not any(gateway in one.network for one in own):
            raise IdentityError(f"interfaces: {interface.mac}: the gateway {gateway} is in none of its networks")
