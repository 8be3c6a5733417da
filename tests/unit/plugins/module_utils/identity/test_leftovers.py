# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a master left behind goes or is made anew, once, all of it is documented, and a person may keep it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.identity import give
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.leftovers import DIFFERS, GOES, NAMES, leftovers
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.network import network_settings
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.static import static_addresses
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree
from ansible_collections.reimage.lab.plugins.modules import linux_identity

DOCUMENTED = Path(__file__).resolve().parents[5] / "docs/linux.md"
UUID = "11111111-2222-4333-8444-555555555555"
TEXTS = {
    "etc/iscsi/initiatorname.iscsi": "# kept\nInitiatorName=iqn.1993-08.org.debian:01:master\n",
    "etc/nvme/hostnqn": f"nqn.2014-08.org.nvmexpress:uuid:{UUID}\n",
    "etc/nvme/hostid": f"{UUID}\n",
}
NEIGHBOURS = ("etc/salt/pki/minion/minion_master.pub", "etc/lvm/lvm.conf", "etc/krb5.conf", "var/lib/cloud/seed/x", "etc/hostid")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A master with everything."""
    root = tmp_path / "root"
    for paths in {**GOES, **DIFFERS}.values():
        for path in paths:
            name = path.lstrip("/").replace("*", "x") + ("file" if path.endswith("/") else "")
            write(root, name, TEXTS.get(name, "the master's"))
    for name in ("etc/os-release", *NEIGHBOURS):
        write(root, name, "kept")
    return root


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_all_goes_or_differs_once(root: Path) -> None:
    expected = leftovers(Tree(root))
    assert give(Tree(root), "pc-01", "lab/1")[0]
    left = everything(root)
    assert not [name for name, text in left.items() if text == b"the master's"]
    assert {left[name] for name in NEIGHBOURS} == {b"kept"}
    assert re.fullmatch(
        rb"# kept\nInitiatorName=iqn\.1993-08\.org\.debian:01:[0-9a-f]{12}\n", left["etc/iscsi/initiatorname.iscsi"]
    )
    host_id = left["etc/nvme/hostid"].decode().strip()
    assert host_id != UUID
    assert left["etc/nvme/hostnqn"].decode() == f"nqn.2014-08.org.nvmexpress:uuid:{host_id}\n"
    assert len(expected) == sum(map(len, [*GOES.values(), *DIFFERS.values()]))
    assert not give(Tree(root), "pc-01", "lab/1")[0]
    assert everything(root) == left


@pytest.mark.parametrize(
    ("line", "authority"),
    [
        ("InitiatorName = eui.02004567A425678D", "iqn.2016-04.com.open-iscsi"),
        ("InitiatorName=iqn.1994-05.com.redhat:1f2e", "iqn.1994-05.com.redhat"),
    ],
)
def test_initiator_keeps_its_authority(root: Path, line: str, authority: str) -> None:
    write(root, "etc/iscsi/initiatorname.iscsi", line)
    give(Tree(root), "pc-01", "lab/1")
    name = (root / "etc/iscsi/initiatorname.iscsi").read_text().partition("=")[2].strip()
    assert re.fullmatch(rf"{re.escape(authority)}:[0-9a-f]{{12}}", name)


@pytest.mark.parametrize("name", NAMES)
def test_kept_stays_and_nothing_else(root: Path, name: str) -> None:
    tree = Tree(root)
    before, others = everything(root), leftovers(tree, [other for other in NAMES if other != name])
    give(tree, "pc-01", "lab/1", keep=[name])
    after = everything(root)
    for path in others:
        found = [one for one in before if f"/{one}".startswith(path)]
        assert found
        assert {one: after[one] for one in found} == {one: before[one] for one in found}
    assert not set(leftovers(tree, [name, *DIFFERS]))


def test_what_cannot_be_is_refused_before_anything_is_written(root: Path, tmp_path: Path) -> None:
    before = everything(root)
    with pytest.raises(IdentityError, match="keep: salz is none of agents, "):
        give(Tree(root), "pc-01", "lab/1", keep=["salz"])
    assert everything(root) == before
    outside = tmp_path / "outside"
    (root / "etc/chef").rename(outside)
    (root / "etc/chef").symlink_to(outside)
    with pytest.raises(IdentityError, match=r"/etc/chef/client\.pem: .* leads out .*'keep: \[chef\]' leaves it"):
        give(Tree(root), "pc-01", "lab/1")
    assert (root / "etc/machine-info").exists()
    assert give(Tree(root), "pc-01", "lab/1", keep=["chef"])[0]
    assert (outside / "client.pem").read_text() == "the master's"


def test_documentation_lists_exactly_what_is_done() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (`/.*`) \| \S.* \|$", DOCUMENTED.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: tuple(files.strip("`").split("`, `")) for name, files in rows} == {**GOES, **DIFFERS}
    assert yaml.safe_load(linux_identity.DOCUMENTATION)["options"]["keep"]["choices"] == NAMES


@pytest.mark.parametrize(
    ("name", "text", "warned"),
    [
        ("etc/network/interfaces", "auto eth0\niface eth0 inet static\n address 192.0.2.7/24\n", True),
        ("etc/network/interfaces", "auto lo\niface lo inet loopback\niface eth0 inet dhcp\n", False),
        ("etc/network/interfaces.d/lan", "iface eth0 inet6 static\n", True),
        ("etc/network/interfaces.d/reimage", "iface eth0 inet static\n", False),
        ("etc/netplan/01.yaml", "network:\n  ethernets:\n    eth0:\n      addresses: [192.0.2.7/24]\n", True),
        ("etc/netplan/01.yaml", 'network:\n  ethernets:\n    eth0:\n      addresses:\n      - "2001:db8::7/64"\n', True),
        ("etc/netplan/01.yaml", "network:\n  ethernets:\n    eth0:\n      nameservers:\n        addresses: [192.0.2.1]\n", False),
        ("etc/NetworkManager/system-connections/lan", "[ipv4]\nmethod=manual\naddress1=192.0.2.7/24\n", True),
        ("etc/NetworkManager/system-connections/lan", "[ipv4]\nmethod=auto\n", False),
        ("etc/sysconfig/network-scripts/ifcfg-eth0", "BOOTPROTO=none\nIPADDR=192.0.2.7\n", True),
        ("etc/sysconfig/network/ifcfg-eth0", "IPADDR='192.0.2.7/24'\n", True),
        ("etc/sysconfig/network/ifcfg-lo", "IPADDR=127.0.0.1\n", False),
        ("etc/dhcpcd.conf", "interface eth0\nstatic ip_address=192.0.2.7/24\n", True),
        ("etc/systemd/network/lan.network", "[Network]\nAddress=192.0.2.7/24\n", True),
        ("usr/lib/systemd/network/lan.network", "[Address]\nAddress = 2001:db8::7/64\n", True),
        ("usr/lib/systemd/network/80-container-ve.network", "[Network]\nAddress=0.0.0.0/28\n", False),
        ("usr/lib/systemd/network/hidden.network", "[Network]\nAddress=192.0.2.7/24\n", False),
    ],
)
def test_static_address_of_the_image_is_a_warning(tmp_path: Path, name: str, text: str, warned: bool) -> None:
    write(tmp_path, "etc/systemd/network/hidden.network", "[Network]\nDHCP=yes\n")
    write(tmp_path, name, text)
    assert static_addresses(Tree(tmp_path)) == ([f"/{name}"] if warned else [])
    warnings = network_settings(Tree(tmp_path), []).warnings
    assert [f"the same on each machine: /{name}" in warning for warning in warnings] == [True] * warned


def test_link_that_leads_out_is_no_obstacle_to_a_warning(tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/sysconfig").symlink_to(tmp_path)
    assert static_addresses(Tree(tmp_path / "root")) == []
