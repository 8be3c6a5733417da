# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Static addresses that a master brings along: each of its copies would have them.

Sources: interfaces(5), netplan(5), nm-settings-keyfile(5), nm-settings-ifcfg-rh(5), systemd.network(5), dhcpcd.conf(5).
"""

from __future__ import annotations

import re

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree

NETWORKD = ("/etc/systemd/network", "/usr/lib/systemd/network")
# systemd-networkd takes 0.0.0.0 and :: for "any network that is free": the files that systemd brings along have them.
_NETWORKD = re.compile(r"^[ \t]*Address[ \t]*=[ \t]*(?!0\.0\.0\.0/|::/)[0-9a-fA-F]*[.:]", re.MULTILINE)
_IFUPDOWN = re.compile(r"^[ \t]*iface[ \t]+\S+[ \t]+inet6?[ \t]+static\b", re.MULTILINE)
_IFCFG = re.compile(r"^[ \t]*(?:IPADDR\w*|IPV6ADDR)[ \t]*=[ \t]*[\"']?[0-9a-fA-F]", re.MULTILINE)
_FILES = (
    ("/etc/network", "interfaces", _IFUPDOWN),
    ("/etc/network/interfaces.d", "*", _IFUPDOWN),
    ("/etc/netplan", "*.yaml", re.compile(r"""^[ \t]*(?:addresses:[ \t]*\[|-)[ \t]*["']?[0-9a-fA-F.:]+/\d""", re.MULTILINE)),
    ("/etc/NetworkManager/system-connections", "*", re.compile(r"^[ \t]*method[ \t]*=[ \t]*manual\b", re.MULTILINE)),
    ("/etc/sysconfig/network", "ifcfg-*", _IFCFG),
    ("/etc/sysconfig/network-scripts", "ifcfg-*", _IFCFG),
    ("/etc", "dhcpcd.conf", re.compile(r"^[ \t]*static[ \t]+ip6?_address=", re.MULTILINE)),
    *((folder, "*.network", _NETWORKD) for folder in NETWORKD),
)
_OURS = re.compile(r"/(?:10-)?reimage(?:-[^/]*)?$|/90-reimage\.yaml$")
_LOOPBACK = "/ifcfg-lo"


def static_addresses(tree: Tree) -> list[str]:
    """Return the files of the image that give a network card a static address, sorted."""
    found = set()
    for folder, pattern, address in _FILES:
        for name in _match(tree, folder, pattern):
            if not _OURS.search(name) and not name.endswith(_LOOPBACK) and address.search(tree.read(name) or ""):
                found.add(name)
    return sorted(found)


def networkd_files(tree: Tree) -> list[str]:
    """Return the files that systemd-networkd reads, of the image's and of ours."""
    return [name for folder in NETWORKD for name in _match(tree, folder, "*.network")]


def _match(tree: Tree, folder: str, pattern: str) -> list[str]:
    """Return files that count; none where a link leads out of the tree, which is no reason to fail if it is about a warning."""
    etc, usr = NETWORKD
    try:
        found = tree.match(folder, pattern)
    except IdentityError:
        return []
    # systemd prefers a file in /etc to one of the same name.
    return [name for name in found if folder != usr or not tree.exists(name.replace(usr, etc, 1))]


def warnings(tree: Tree) -> list[str]:
    """Return a warning if all copies of the master would have its addresses."""
    found = static_addresses(tree)
    if not found:
        return []
    return [f"interfaces: none is declared, and the image has static addresses, the same on each machine: {', '.join(found)}"]
