# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Static addresses reach the network system that a tree has, read back with parsers that are not ours, and only once."""

from __future__ import annotations

import configparser
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.interfaces import Interface, interfaces_from
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.identity import RECORD, cloud_init_settings, give
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.network import detect, network_settings
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import from_options
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.unattend import render

CARD = Interface("52:54:00:77:01:01", ["192.0.2.7/24", "2001:db8::7/64"], "192.0.2.1", ["192.0.2.53", "2001:db8::53"])
OTHER = Interface("52:54:00:77:01:02", ["2001:db8:1::7/64"], "2001:db8:1::1")
SYSTEMS: dict[str, list[str]] = {
    "netplan": ["etc/netplan/50-cloud-init.yaml", "usr/sbin/netplan"],
    "networkmanager": ["usr/sbin/NetworkManager", "etc/NetworkManager/system-connections/lan.nmconnection"],
    "networkd": ["etc/systemd/system/multi-user.target.wants/systemd-networkd.service"],
    "ifupdown": ["etc/network/interfaces", "sbin/ifup"],
    "": [],
}
FILES = {
    "netplan": ["etc/netplan/90-reimage.yaml"],
    "networkmanager": [f"etc/NetworkManager/system-connections/reimage-52540077010{n}.nmconnection" for n in (1, 2)],
    "networkd": ["etc/resolv.conf", *(f"etc/systemd/network/10-reimage-52540077010{n}.network" for n in (1, 2))],
    "ifupdown": [
        "etc/network/interfaces.d/reimage",
        "etc/resolv.conf",
        *(f"etc/systemd/network/10-reimage-52540077010{n}.link" for n in (1, 2)),
    ],
}


def tree_with(folder: Path, *systems: str) -> Path:
    """A tree that has some network systems."""
    for name in ["etc/os-release", *(name for system in systems for name in SYSTEMS[system])]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("source /etc/network/interfaces.d/*\n" if name == "etc/network/interfaces" else "")
    return folder


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_text(), path.stat().st_mode & 0o777) for path in found}


def apply(folder: Path, *interfaces: Interface) -> bool:
    tree = Tree(folder)
    return give(tree, "pc-01", "lab/1", interfaces=interfaces, settings=network_settings(tree, interfaces))[0]


@pytest.mark.parametrize("system", list(FILES))
def test_addresses_are_given_once_changed_and_taken_away(tmp_path: Path, system: str) -> None:
    root = tree_with(tmp_path, system)
    before = contents(root)
    assert detect(Tree(root)) == system
    assert apply(root, CARD, OTHER)
    given = contents(root)
    own = {"etc/hostname", "etc/hosts", "etc/machine-id", RECORD.lstrip("/")}
    assert sorted(given.keys() - before.keys() - own) == FILES[system]
    assert {name: given[name] for name in before} == before
    assert not apply(root, CARD, OTHER)
    assert contents(root) == given

    assert apply(root, Interface(CARD.mac, ["192.0.2.8/24"]))
    changed = contents(root)
    assert changed["etc/machine-id"] == given["etc/machine-id"]
    assert json.loads(changed[RECORD.lstrip("/")][0])["interfaces"][0]["addresses"] == ["192.0.2.8/24"]
    assert not [name for name in changed if "540077010" in name and name.endswith(("2.nmconnection", "2.network", "2.link"))]

    # What somebody took away comes back, though the record says that it was done.
    ours = [name for name in FILES[system] if name != "etc/resolv.conf"]  # which DHCP writes, without addresses of ours
    (root / ours[0]).unlink()
    assert apply(root, Interface(CARD.mac, ["192.0.2.8/24"]))
    assert contents(root) == changed

    assert apply(root)
    assert not set(ours) & contents(root).keys()
    assert not apply(root)


def test_netplan(tmp_path: Path) -> None:
    root = tree_with(tmp_path, "netplan", "networkmanager", "networkd")
    apply(root, CARD, OTHER)
    text, mode = contents(root)["etc/netplan/90-reimage.yaml"]
    assert mode == 0o600
    network = yaml.safe_load(text)["network"]
    assert network["version"] == 2
    assert network["ethernets"]["00-reimage-525400770101"] == {
        "match": {"macaddress": "52:54:00:77:01:01"},
        "dhcp4": False,
        "addresses": ["192.0.2.7/24", "2001:db8::7/64"],
        "routes": [{"to": "0.0.0.0/0", "via": "192.0.2.1"}],
        "nameservers": {"addresses": ["192.0.2.53", "2001:db8::53"]},
    }
    other = network["ethernets"]["00-reimage-525400770102"]
    assert (other["dhcp4"], other["routes"]) == (True, [{"to": "::/0", "via": "2001:db8:1::1"}])


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("network:\n  version: 2\n  renderer: NetworkManager\n", "networkmanager"),
        ("network:\n  version: 2\n  renderer: networkd\n", "netplan"),
        ("network:\n  wifis:\n    wlan0:\n      renderer: NetworkManager\n", "netplan"),
    ],
)
def test_netplan_that_leaves_all_to_networkmanager(tmp_path: Path, text: str, system: str) -> None:
    root = tree_with(tmp_path, "netplan", "networkmanager")
    (root / "etc/netplan/01-all.yaml").write_text(text)
    assert detect(Tree(root)) == system


def test_networkmanager(tmp_path: Path) -> None:
    root = tree_with(tmp_path, "networkmanager", "ifupdown")
    apply(root, CARD, OTHER)
    found = []
    for name in FILES["networkmanager"]:
        text, mode = contents(root)[name]
        assert mode == 0o600
        parser = configparser.ConfigParser(interpolation=None, delimiters="=")
        parser.read_string(text)
        found.append({section: dict(parser[section]) for section in parser.sections()})
    first, second = found
    assert first["ethernet"] == {"mac-address": "52:54:00:77:01:01"}
    assert first["ipv4"] == {"method": "manual", "address1": "192.0.2.7/24", "gateway": "192.0.2.1", "dns": "192.0.2.53;"}
    assert first["ipv6"] == {"method": "manual", "address1": "2001:db8::7/64", "dns": "2001:db8::53;"}
    assert second["ipv4"] == {"method": "auto"}
    assert first["connection"]["uuid"] != second["connection"]["uuid"]


def test_networkd(tmp_path: Path) -> None:
    root = tree_with(tmp_path, "networkd")
    (root / "etc/systemd/network").mkdir()
    for name in ("05-first.network", "lan.network"):
        (root / "etc/systemd/network" / name).write_text("[Match]\nName=*\n")
    tree = Tree(root)
    settings = network_settings(tree, [CARD])
    assert [warning for warning in settings.warnings if "05-first" in warning] == settings.warnings != []
    settings.apply(tree)
    text = (root / "etc/systemd/network/10-reimage-525400770101.network").read_text()
    assert text.splitlines()[1:] == [
        "[Match]",
        "MACAddress=52:54:00:77:01:01",
        "Type=ether",
        "",
        "[Network]",
        "Address=192.0.2.7/24",
        "Address=2001:db8::7/64",
        "Gateway=192.0.2.1",
        "DNS=192.0.2.53",
        "DNS=2001:db8::53",
    ]
    assert (root / "etc/resolv.conf").read_text() == "nameserver 192.0.2.53\nnameserver 2001:db8::53\n"


BOTH = Interface(CARD.mac, CARD.addresses, "192.0.2.1", (), "fe80::1")


def test_two_routers_one_of_each_family(tmp_path: Path) -> None:
    """The one of IPv6 by its link-local address, as routers announce themselves."""
    found = {}
    for system, name in (
        ("netplan", "etc/netplan/90-reimage.yaml"),
        ("networkmanager", FILES["networkmanager"][0]),
        ("networkd", "etc/systemd/network/10-reimage-525400770101.network"),
        ("ifupdown", "etc/network/interfaces.d/reimage"),
    ):
        root = tree_with(tmp_path / system, system)
        assert apply(root, BOTH)
        assert not apply(root, BOTH)
        found[system] = (root / name).read_text()
        assert json.loads((root / RECORD.lstrip("/")).read_text())["interfaces"][0]["gateway6"] == "fe80::1"
    routes = yaml.safe_load(found["netplan"])["network"]["ethernets"]["00-reimage-525400770101"]["routes"]
    assert routes == [{"to": "0.0.0.0/0", "via": "192.0.2.1"}, {"to": "::/0", "via": "fe80::1"}]
    parser = configparser.ConfigParser(interpolation=None, delimiters="=")
    parser.read_string(found["networkmanager"])
    assert (parser["ipv4"]["gateway"], parser["ipv6"]["gateway"]) == ("192.0.2.1", "fe80::1")
    assert [line for line in found["networkd"].splitlines() if "Gateway" in line] == ["Gateway=192.0.2.1", "Gateway=fe80::1"]
    assert found["ifupdown"].splitlines()[2:] == [
        "iface enx525400770101 inet static",
        "    address 192.0.2.7/24",
        "    gateway 192.0.2.1",
        "iface enx525400770101 inet6 static",
        "    address 2001:db8::7/64",
        "    gateway fe80::1",
    ]


def test_two_routers_of_windows() -> None:
    text = render(replace(from_options({"computer_name": "PC-01"}), interfaces=[BOTH]), "amd64")
    routes = ElementTree.fromstring(text).findall(".//{*}Routes/{*}Route")
    assert [[part.text for part in route] for route in routes] == [
        ["0", "10", "192.0.2.1", "0.0.0.0/0"],
        ["1", "10", "fe80::1", "::/0"],
    ]


@pytest.mark.parametrize(
    ("addresses", "routers"),
    [
        (["2001:db8::7/64"], {"gateway": "fe80::1"}),
        (["2001:db8::7/64"], {"gateway6": "febf::1"}),
        (CARD.addresses, {"gateway": "192.0.2.1", "gateway6": "2001:db8::1"}),
    ],
)
def test_routers_that_can_be(addresses: list[str], routers: dict[str, str]) -> None:
    found = interfaces_from([{"mac": CARD.mac, "addresses": addresses, **routers}])
    assert found[0].gateways == list(routers.values())


@pytest.mark.parametrize(
    ("routers", "message"),
    [
        ({"gateway": "fe80::1"}, "none of its networks"),  # nothing of IPv6 is declared
        ({"gateway": "fec0::1"}, "none of its networks"),
        ({"gateway6": "192.0.2.1"}, "gateway6 is the router of IPv6"),
        ({"gateway": "2001:db8::1", "gateway6": "fe80::1"}, "gateway6 is the router of IPv6"),
        ({"gateway6": "fe80::1%eth0"}, "zone|fe80"),
    ],
)
def test_routers_that_cannot_be_are_refused(routers: dict[str, str], message: str) -> None:
    with pytest.raises(IdentityError, match=message):
        interfaces_from([{"mac": CARD.mac, "addresses": ["192.0.2.7/24"], **routers}])


def test_resolver_of_the_system_is_left_its_file(tmp_path: Path) -> None:
    root = tree_with(tmp_path, "networkd")
    (root / "etc/systemd/system/multi-user.target.wants/systemd-resolved.service").symlink_to("/lib/nowhere")
    apply(root, CARD)
    assert not (root / "etc/resolv.conf").exists()


def test_ifupdown(tmp_path: Path) -> None:
    root = tree_with(tmp_path, "ifupdown")
    apply(root, Interface(CARD.mac, ["198.51.100.7/24", "192.0.2.7/24"], "192.0.2.1", ["192.0.2.53"]))
    assert (root / "etc/systemd/network/10-reimage-525400770101.link").read_text().splitlines()[1:] == [
        "[Match]",
        "MACAddress=52:54:00:77:01:01",
        "",
        "[Link]",
        "Name=enx525400770101",
    ]
    assert (root / "etc/network/interfaces.d/reimage").read_text().splitlines()[1:] == [
        "auto enx525400770101",
        "iface enx525400770101 inet static",
        "    address 198.51.100.7/24",
        "iface enx525400770101 inet static",
        "    address 192.0.2.7/24",
        "    gateway 192.0.2.1",
        "    dns-nameservers 192.0.2.53",
    ]


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("source /etc/network/interfaces.d/*", True),
        ("source interfaces.d/*", True),
        ("source-directory /etc/network/interfaces.d/", True),
        ("  source-directory interfaces.d", True),
        ("source /etc/network/interfaces.d/*.cfg", False),
        ("#source /etc/network/interfaces.d/*", False),
        ("iface lo inet loopback", False),
    ],
)
def test_ifupdown_that_does_not_read_our_file_is_refused(tmp_path: Path, line: str, read: bool) -> None:
    root = tree_with(tmp_path, "ifupdown")
    (root / "etc/network/interfaces").write_text(f"auto lo\n{line}\n")
    before = contents(root)
    if read:
        assert apply(root, CARD)
        return
    with pytest.raises(IdentityError, match=r"add 'source /etc/network/interfaces\.d"):
        apply(root, CARD)
    assert contents(root) == before


def test_tree_without_network_system_is_refused_only_if_addresses_are_declared(tmp_path: Path) -> None:
    root = tree_with(tmp_path, "")
    before = contents(root)
    with pytest.raises(IdentityError, match="none of netplan"):
        apply(root, CARD)
    assert contents(root) == before
    assert apply(root)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"mac": "52:54", "addresses": ["192.0.2.7/24"]}], "not a MAC"),
        ([{"mac": CARD.mac, "addresses": ["192.0.2.7"]}], "needs a prefix"),
        ([{"mac": CARD.mac, "addresses": []}], "needs a prefix"),
        ([{"mac": CARD.mac, "addresses": ["192.0.2.7/255.255.255.0"]}], "needs a prefix"),
        ([{"mac": CARD.mac, "addresses": ["192.0.2.7/24"], "dns": ["fe80::1%\n[x]"]}], "zone|fe80"),
        ([{"mac": CARD.mac, "addresses": ["192.0.2.7/24\nx=y"]}], CARD.mac),
        ([{"mac": CARD.mac, "addresses": ["192.0.2.7/24"], "gateway": "198.51.100.1"}], "none of its networks"),
        (
            [{"mac": CARD.mac, "addresses": ["192.0.2.7/24"]}, {"mac": "52-54-00-77-01-01", "addresses": ["192.0.2.8/24"]}],
            "twice",
        ),
    ],
)
def test_addresses_that_cannot_be_are_refused(items: list[dict[str, object]], message: str) -> None:
    with pytest.raises(IdentityError, match=message):
        interfaces_from(items)


def test_cloud_init_forgets_the_master_and_leaves_the_name(tmp_path: Path) -> None:
    root = tree_with(tmp_path, "networkd")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "kept").touch()
    for name in (
        "etc/cloud/cloud.cfg",
        "var/lib/cloud/instances/i-1/sem/x",
        "var/lib/cloud/data/instance-id",
        "var/lib/cloud/seed/x",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "var/lib/cloud/instance").symlink_to("/var/lib/cloud/instances/i-1")
    (root / "var/lib/cloud/sem").symlink_to(outside)
    tree = Tree(root)
    for interfaces in ([], [CARD]):
        settings = cloud_init_settings(tree, interfaces)
        assert give(tree, "pc-01", "lab/1", interfaces=interfaces, settings=settings)[0]
        assert not give(tree, "pc-01", "lab/1", interfaces=interfaces, settings=settings)[0]
        config = yaml.safe_load((root / "etc/cloud/cloud.cfg.d/99-reimage.cfg").read_text())
        network = {"network": {"config": "disabled"}} if interfaces else {}
        assert config == {"preserve_hostname": True, "manage_etc_hosts": False, "ssh_deletekeys": False, **network}
    assert [path.name for path in (root / "var/lib/cloud").iterdir()] == ["seed"]
    assert (outside / "kept").exists()


def test_tree_without_cloud_init_gets_nothing_of_it(tmp_path: Path) -> None:
    assert not cloud_init_settings(Tree(tree_with(tmp_path)), [CARD]).files


def test_folder_of_programs_that_is_an_absolute_link_is_no_obstacle(tmp_path: Path) -> None:
    root = tree_with(tmp_path, "")
    (root / "sbin").symlink_to("/usr/sbin")
    for name in ("etc/network/interfaces", "usr/sbin/ifup"):
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()
    assert detect(Tree(root)) == "ifupdown"
