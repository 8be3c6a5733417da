# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a master left behind that no two machines may share. docs/linux.md gives the reasons.

Sources: systemd, "Safely Building Images"; virt-sysprep(1); cloud-init, command clean; lvmdevices(8); the agents' documentation.
"""

from __future__ import annotations

import re
import uuid
from typing import Collection

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree

# By the name that I(keep) takes. The last part may be a pattern of regular files; a slash at the end stands for a whole folder.
GOES = {
    "agents": (
        "/etc/cmk-update-agent.state",
        "/etc/qualys/hostid",
        "/var/cfengine/ppkeys/localhost.*",
        "/var/lib/fusioninventory-agent/*.dump",
        "/var/lib/glpi-agent/*.dump",
        "/var/lib/landscape/client/*.bpickle*",
        "/var/lib/tailscale/tailscaled.state",
        "/var/lib/zerotier-one/identity.*",
        "/var/ossec/etc/client.keys",
    ),
    "chef": ("/etc/chef/client.pem", "/etc/cinc/client.pem"),
    "cloud-init": tuple(f"/var/lib/cloud/{name}/" for name in ("instance", "instances", "data", "sem")),
    "credential-secret": ("/var/lib/systemd/credential.secret",),
    "dhcp": (
        "/etc/dhcpcd.duid",
        "/etc/dhcpcd.secret",
        "/var/db/dhcpcd/*",
        "/var/lib/NetworkManager/*.lease",
        "/var/lib/dhclient/*",
        "/var/lib/dhcp/*.lease",
        "/var/lib/dhcp/*.leases",
        "/var/lib/dhcpcd/*",
        "/var/lib/dhcpv6/*_duid",
        "/var/lib/systemd/network/*",
        "/var/lib/wicked/*.xml",
    ),
    "domain": ("/etc/krb5.keytab", "/var/lib/samba/private/secrets.tdb", "/var/lib/sss/db/*"),
    "lvm-devices": ("/etc/lvm/devices/system.devices", "/etc/lvm/devices/backup/*"),
    "machine-info": ("/etc/machine-info",),
    "networkmanager": tuple(f"/var/lib/NetworkManager/{name}" for name in ("secret_key", "seen-bssids", "timestamps")),
    "puppet": ("/etc/puppetlabs/puppet/ssl/", "/var/lib/puppet/ssl/"),
    "random-seed": ("/var/lib/random-seed", "/var/lib/systemd/random-seed", "/var/lib/urandom/random-seed"),
    "salt": ("/etc/salt/minion_id", "/etc/salt/pki/minion/minion.pem", "/etc/salt/pki/minion/minion.pub"),
    "subscription": (
        "/etc/insights-client/machine-id",
        "/etc/pki/consumer/*.pem",
        "/etc/pki/entitlement/*.pem",
        "/etc/sysconfig/rhn/systemid",
        "/var/lib/ubuntu-advantage/private/*.json",
    ),
    "udev-names": ("/etc/udev/rules.d/70-persistent-cd.rules", "/etc/udev/rules.d/70-persistent-net.rules"),
}
_ISCSI, _NQN, _HOST_ID = "/etc/iscsi/initiatorname.iscsi", "/etc/nvme/hostnqn", "/etc/nvme/hostid"
DIFFERS = {"iscsi": (_ISCSI,), "nvme": (_NQN, _HOST_ID)}
NAMES = sorted([*GOES, *DIFFERS])
_INITIATOR = re.compile(r"^([ \t]*InitiatorName[ \t]*=[ \t]*)(\S+)", re.MULTILINE)


def leftovers(tree: Tree, keep: Collection[str] = ()) -> list[str]:
    """Return the files and folders of the master that go or get another content, sorted.

    :param keep: Which of I(NAMES) stay as they are.
    :raises IdentityError: One lies behind a symbolic link that leaves the tree, or I(keep) has a name that is none of these.
    """
    unknown = sorted(set(keep) - set(NAMES))
    if unknown:
        raise IdentityError(f"keep: {', '.join(unknown)} is none of {', '.join(NAMES)}")
    found: set[str] = set()
    for name, paths in {**GOES, **DIFFERS}.items():
        if name in keep:
            continue
        try:
            found.update(one for path in paths for one in _matching(tree, path))
        except IdentityError as error:
            raise IdentityError(f"{error}; 'keep: [{name}]' leaves it as it is") from error
    return sorted(found)


def renew(tree: Tree, keep: Collection[str] = ()) -> None:
    """Remove what I(leftovers) returns, or write it anew."""
    random = uuid.uuid4()
    new = {_NQN: f"nqn.2014-08.org.nvmexpress:uuid:{random}\n", _HOST_ID: f"{random}\n"}
    for name in leftovers(tree, keep):
        if name == _ISCSI:
            tree.write(name, _INITIATOR.sub(_other_initiator, tree.read(name) or ""))
        elif name in new:
            tree.write(name, new[name])
        else:
            tree.remove_all(name)


def _matching(tree: Tree, path: str) -> list[str]:
    folder, pattern = path.rstrip("/").rsplit("/", 1)
    if "*" in pattern:
        return tree.match(folder, pattern)
    name = f"{folder}/{pattern}"
    tree.path(name)  # what lies behind a link that leads out is an error, not missing
    return [name] if tree.exists(name) else []


def _other_initiator(match: re.Match[str]) -> str:
    """Return the line with another name of the same authority."""
    authority = match[2].rpartition(":")[0]
    return f"{match[1]}{authority if authority.startswith('iqn.') else 'iqn.2016-04.com.open-iscsi'}:{uuid.uuid4().hex[:12]}"
