# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Static addresses of a Linux that is not running, for whichever network system it uses, by MAC address.

A family (IPv4, IPv6) without an address of its own is left to DHCP or to router advertisements.
Sources: netplan(5), nm-settings-keyfile(5), systemd.network(5), systemd.link(5), interfaces(5).
"""

from __future__ import annotations

import json
import re
import uuid
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_interface
from typing import Any, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.interfaces import Interface
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.settings import File, Settings
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.static import networkd_files, warnings
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree

_NM, _NETWORKD = "/etc/NetworkManager/system-connections", "/etc/systemd/network"
_NETPLAN, _IFUPDOWN = "/etc/netplan/90-reimage.yaml", "/etc/network/interfaces.d/reimage"
_OURS = (
    (_NM, "reimage-*.nmconnection"),
    ("/etc/netplan", "90-reimage.yaml"),
    (_NETWORKD, "10-reimage-*"),
    ("/etc/network/interfaces.d", "reimage"),
)
_NOTE = "# Written by reimage.lab, which replaces this file.\n"
# The one that holds for all cards is less indented than a single card's.
_NETPLAN_BY_NM = re.compile(r"""^ {1,4}["']?renderer["']?: *["']?NetworkManager\b""", re.MULTILINE)


def detect(tree: Tree) -> str:
    """Return which system sets up the network, C(netplan), C(networkmanager), C(networkd), C(ifupdown), or nothing."""
    if tree.exists("/etc/netplan") and tree.exists("/usr/sbin/netplan"):
        # NetworkManager prefers our connection to the image's if it is told to, which netplan has no word for.
        texts = [tree.read(name) or "" for name in tree.match("/etc/netplan", "*.yaml")]
        return "networkmanager" if any(map(_NETPLAN_BY_NM.search, texts)) else "netplan"
    if tree.exists("/usr/sbin/NetworkManager") and tree.exists(_NM):
        return "networkmanager"
    if _enabled(tree, "systemd-networkd.service"):
        return "networkd"
    if tree.exists("/etc/network/interfaces") and (tree.exists("/sbin/ifup") or tree.exists("/usr/sbin/ifup")):
        return "ifupdown"
    return ""


def network_settings(tree: Tree, interfaces: Sequence[Interface]) -> Settings:
    """Return the files that give network cards their addresses, and take those away that the image brought along.

    :raises IdentityError: The system has no network system that is known, or it would not read our file.
    """
    wanted: dict[str, File | None] = {name: None for folder, pattern in _OURS for name in tree.match(folder, pattern)}
    if interfaces:
        system = detect(tree)
        if not system:
            raise IdentityError(
                "interfaces: the system has none of netplan, NetworkManager, systemd-networkd (enabled) and ifupdown:"
                " leave interfaces out, and have the master set up its network by itself"
            )
        write = {"netplan": _netplan, "networkmanager": _nm, "networkd": _networkd, "ifupdown": _ifupdown}[system]
        wanted.update(write(tree, interfaces))
        if system == "networkd":
            return Settings(wanted, _before_ours(tree))
        return Settings(wanted)
    return Settings(wanted, warnings(tree))


def _before_ours(tree: Tree) -> list[str]:
    """Return a warning for each file that systemd-networkd reads before ours, for the first that matches a card counts."""
    return [
        f"interfaces: {name} of the image comes before our 10-reimage-*.network: for cards that it matches, it counts"
        for name in networkd_files(tree)
        if name.rsplit("/", 1)[1] < "10-reimage-"
    ]


def _enabled(tree: Tree, unit: str) -> bool:
    folders = ("multi-user.target.wants", "sysinit.target.wants", "network-online.target.wants")
    return any(tree.exists(f"/etc/systemd/system/{folder}/{unit}") for folder in folders)


def _digits(interface: Interface) -> str:
    return interface.mac.replace(":", "")


def _of(version: int, addresses: Sequence[str]) -> list[str]:
    """Return those of IPv4, or those of IPv6."""
    return [address for address in addresses if (":" in address) == (version == 6)]


def _netplan(_tree: Tree, interfaces: Sequence[Interface]) -> dict[str, File]:
    ethernets: dict[str, Any] = {}
    for interface in interfaces:
        card: dict[str, Any] = {"match": {"macaddress": interface.mac}, "addresses": list(interface.addresses)}
        card["dhcp4"] = not _of(4, interface.addresses)
        if interface.gateways:
            # Not "default": netplan knows that since 0.103 only.
            card["routes"] = [{"to": "::/0" if ":" in via else "0.0.0.0/0", "via": via} for via in interface.gateways]
        if interface.dns:
            card["nameservers"] = {"addresses": list(interface.dns)}
        # Of two that match a card systemd-networkd takes the first by name: before eth0, enp1s0 and the like of the image.
        ethernets[f"00-reimage-{_digits(interface)}"] = card
    # JSON is YAML.
    text = json.dumps({"network": {"version": 2, "ethernets": ethernets}}, indent=2)
    return {_NETPLAN: File(f"{_NOTE}{text}\n", 0o600)}


def _nm(_tree: Tree, interfaces: Sequence[Interface]) -> dict[str, File]:
    return {f"{_NM}/reimage-{_digits(one)}.nmconnection": File(_NOTE + _keyfile(one), 0o600) for one in interfaces}


def _keyfile(interface: Interface) -> str:
    lines = [
        "[connection]",
        f"id=reimage {interface.mac}",
        f"uuid={uuid.uuid5(uuid.NAMESPACE_OID, 'reimage.lab ' + interface.mac)}",
        "type=ethernet",
        # Before connections of the image that any card may use.
        "autoconnect-priority=100",
        "",
        "[ethernet]",
        f"mac-address={interface.mac}",
    ]
    for version in (4, 6):
        addresses, servers = _of(version, interface.addresses), _of(version, interface.dns)
        lines += ["", f"[ipv{version}]", f"method={'manual' if addresses else 'auto'}"]
        lines += [f"address{number}={address}" for number, address in enumerate(addresses, 1)]
        lines += [f"gateway={gateway}" for gateway in _of(version, interface.gateways)]
        lines += [f"dns={';'.join(servers)};"] if servers else []
    return "\n".join(lines) + "\n"


def _networkd(tree: Tree, interfaces: Sequence[Interface]) -> dict[str, File]:
    files = {}
    for interface in interfaces:
        # With the type, for a VLAN has the MAC address of its card.
        lines = ["[Match]", f"MACAddress={interface.mac}", "Type=ether", "", "[Network]"]
        lines += [] if _of(4, interface.addresses) else ["DHCP=ipv4"]
        lines += [f"Address={address}" for address in interface.addresses]
        lines += [f"Gateway={gateway}" for gateway in interface.gateways]
        lines += [f"DNS={server}" for server in interface.dns]
        files[f"{_NETWORKD}/10-reimage-{_digits(interface)}.network"] = File(_NOTE + "\n".join(lines) + "\n")
    resolver = _enabled(tree, "systemd-resolved.service")
    return {**files, **({} if resolver else _resolv_conf(interfaces))}


def _ifupdown(tree: Tree, interfaces: Sequence[Interface]) -> dict[str, File]:
    """Return a file for ifupdown, which knows cards by name only, and files for udev, which name them."""
    if not _sourced(tree):
        raise IdentityError(
            f"interfaces: /etc/network/interfaces of the image does not read {_IFUPDOWN}:"
            " add 'source /etc/network/interfaces.d/*' to it on the master"
        )
    files, stanzas = {}, []
    for interface in interfaces:
        name = f"enx{_digits(interface)}"  # as systemd names cards by their MAC address, and as long as a name may be
        # No type: old udev does not know it. It cannot give a VLAN with the same MAC address a name that is taken.
        link = f"{_NOTE}[Match]\nMACAddress={interface.mac}\n\n[Link]\nName={name}\n"
        files[f"{_NETWORKD}/10-reimage-{_digits(interface)}.link"] = File(link)
        stanzas.append(_stanza(name, interface))
    resolver = tree.exists("/sbin/resolvconf") or tree.exists("/usr/sbin/resolvconf")
    return {**files, _IFUPDOWN: File(_NOTE + "\n".join(stanzas)), **({} if resolver else _resolv_conf(interfaces))}


def _stanza(name: str, interface: Interface) -> str:
    lines = [f"auto {name}"] + ([] if _of(4, interface.addresses) else [f"iface {name} inet dhcp"])
    left = list(interface.gateways)
    for address in interface.addresses:
        lines += [f"iface {name} {'inet6' if ':' in address else 'inet'} static", f"    address {address}"]
        # With the address that reaches it, for ifup sets them one after the other.
        near = [gateway for gateway in left if _reaches(address, gateway)]
        lines += [f"    gateway {gateway}" for gateway in near]
        left = [gateway for gateway in left if gateway not in near]
    if interface.dns:
        lines.append(f"    dns-nameservers {' '.join(interface.dns)}")
    return "\n".join(lines) + "\n"


def _reaches(address: str, gateway: str) -> bool:
    router = ip_address(gateway)
    return router in ip_interface(address).network or (":" in address and ":" in gateway and router.is_link_local)


def _sourced(tree: Tree) -> bool:
    for line in (tree.read("/etc/network/interfaces") or "").splitlines():
        word, _space, rest = line.strip().partition(" ")
        name = rest.strip() if rest.strip().startswith("/") else f"/etc/network/{rest.strip()}"
        if word == "source" and fnmatchcase(_IFUPDOWN, name):
            return True
        if word == "source-directory" and name.rstrip("/") == _IFUPDOWN.rsplit("/", 1)[0]:
            return True
    return False


def _resolv_conf(interfaces: Sequence[Interface]) -> dict[str, File]:
    """Return the file that names servers, for a system in which nothing else would write it."""
    servers = list(dict.fromkeys(server for interface in interfaces for server in interface.dns))
    return {"/etc/resolv.conf": File("".join(f"nameserver {server}\n" for server in servers))} if servers else {}
