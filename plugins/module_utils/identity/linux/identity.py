# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The identity of a Linux that is not running: its name, machine-id and SSH host keys, and the settings that are its own.

Sources: hostname(5), machine-id(5), sshd(8), cloud-init's documentation (boot stages, modules).
"""

from __future__ import annotations

import json
import re
import tempfile
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Collection, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.command import run
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError, naming
from ansible_collections.reimage.lab.plugins.module_utils.identity.interfaces import Interface
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.leftovers import leftovers, renew
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.settings import File, Settings
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree
from ansible_collections.reimage.lab.plugins.module_utils.names import check_linux_name

RECORD = "/var/lib/reimage/identity.json"
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
_KEY_TYPES = ("ed25519", "ecdsa", "rsa")


@dataclass
class Identity:
    """What a machine is given, as C(/var/lib/reimage/identity.json) records it on its disk."""

    hostname: str
    image: str
    machine_id: str
    host_keys: list[str] = field(default_factory=list)
    interfaces: list[dict[str, Any]] = field(default_factory=list)


def check(hostname: str, machine_id: str) -> None:
    """Refuse what cannot be an identity.

    :param machine_id: May be empty, to have one made.
    """
    with naming("hostname"):
        check_linux_name(hostname)
    if machine_id and not _MACHINE_ID.fullmatch(machine_id):
        raise IdentityError(f"{machine_id!r} is not a machine-id: 32 hexadecimal digits in lower case")


def recorded(tree: Tree) -> Identity | None:
    """Return the identity that was given before, if the system still has it."""
    try:
        identity = Identity(**json.loads(tree.read(RECORD) or ""))
    except (ValueError, TypeError):
        return None
    name, machine_id = ((tree.read(path) or "").strip() for path in ("/etc/hostname", "/etc/machine-id"))
    if (name, machine_id, host_keys(tree)) != (identity.hostname, identity.machine_id, identity.host_keys):
        return None
    return identity


def current(tree: Tree, hostname: str, image: str, machine_id: str = "") -> Identity | None:
    """Return the identity that the system has, if it is the one that is asked for, and so is not renewed."""
    found = recorded(tree)
    if found and ((found.hostname, found.image) != (hostname, image) or machine_id not in ("", found.machine_id)):
        return None
    return found


def cloud_init_settings(tree: Tree, interfaces: Sequence[Interface]) -> Settings:
    """Return what keeps cloud-init, if there is one, from giving the machine another identity at its next start."""
    if not tree.exists("/etc/cloud/cloud.cfg"):
        return Settings()
    # Without its state it takes the machine for a new one, and by default makes SSH host keys and hosts for it.
    lines = ["# Written by reimage.lab, which replaces this file.", "preserve_hostname: true", "manage_etc_hosts: false"]
    lines += ["ssh_deletekeys: false", *(["network: {config: disabled}"] if interfaces else [])]
    return Settings({"/etc/cloud/cloud.cfg.d/99-reimage.cfg": File("\n".join(lines) + "\n")})


def give(
    tree: Tree,
    hostname: str,
    image: str,
    machine_id: str = "",
    *,
    interfaces: Sequence[Interface] = (),
    settings: Settings | None = None,
    keep: Collection[str] = (),
    dry_run: bool = False,
) -> tuple[bool, Identity]:
    """Give a system its identity, unless it has it.

    A system that has it keeps its machine-id and keys when only its settings or interfaces are other ones.

    :param interfaces: What the record says of its addresses; I(settings) holds the files that make it so.
    :param keep: What of the master's is not renewed, by the names of I(leftovers).
    :param dry_run: Only say whether something would change.
    :returns: Whether something changed, and the identity.
    """
    check(hostname, machine_id)
    if tree.read("/etc/os-release") is None and tree.read("/usr/lib/os-release") is None:
        raise IdentityError(f"{tree.root}: this is not the root of a Linux system: it has no os-release")
    settings, declared = settings or Settings(), [one.plain() for one in interfaces]
    before = current(tree, hostname, image, machine_id)
    if not before:
        leftovers(tree, keep)  # an error about them comes before anything is written
    new = Identity(hostname, image, machine_id or uuid.uuid4().hex)
    identity = replace(before or new, interfaces=declared)
    if identity == before and not settings.differing(tree):
        return False, identity
    if dry_run:
        return True, identity
    if not before:
        _renew(tree, identity, keep)
    settings.apply(tree)
    tree.write(RECORD, json.dumps(asdict(identity), indent=1) + "\n", 0o644)
    return True, identity


def _renew(tree: Tree, identity: Identity, keep: Collection[str]) -> None:
    """Make a machine of its own of a copy of the master."""
    tree.remove(RECORD)  # while it is missing, the work is not done
    tree.write("/etc/hostname", f"{identity.hostname}\n")
    _write_hosts(tree, identity.hostname)
    tree.write("/etc/machine-id", f"{identity.machine_id}\n", 0o444)
    if tree.read("/var/lib/dbus/machine-id") is not None:
        tree.write("/var/lib/dbus/machine-id", f"{identity.machine_id}\n")
    _new_host_keys(tree, identity.hostname)
    renew(tree, keep)
    identity.host_keys = host_keys(tree)


def host_keys(tree: Tree) -> list[str]:
    """Return the public SSH host keys, without their comments."""
    files = [tree.read(name) or "" for name in tree.match("/etc/ssh", "ssh_host_*_key.pub")]
    return [" ".join(text.split()[:2]) for text in files]


def _write_hosts(tree: Tree, hostname: str) -> None:
    lines = (tree.read("/etc/hosts") or "127.0.0.1\tlocalhost\n").splitlines()
    kept = [line for line in lines if line.split()[:1] != ["127.0.1.1"]]
    names = " ".join(dict.fromkeys([hostname, hostname.split(".")[0]]))
    tree.write("/etc/hosts", "\n".join([*kept, f"127.0.1.1\t{names}"]) + "\n")


def _new_host_keys(tree: Tree, hostname: str) -> None:
    """Make a new key of each type that the image has; of ed25519 at least, if it has sshd."""
    names = tree.match("/etc/ssh", "ssh_host_*_key")
    found = [kind for kind in _KEY_TYPES if f"/etc/ssh/ssh_host_{kind}_key" in names]
    if tree.match("/etc/ssh", "sshd_config") and not found:
        found = ["ed25519"]
    for name in [*names, *tree.match("/etc/ssh", "ssh_host_*_key.pub")]:
        if re.sub(r"\.pub$", "", name) not in [f"/etc/ssh/ssh_host_{kind}_key" for kind in found]:
            tree.remove(name)  # the others are replaced, and keep their SELinux labels
    with tempfile.TemporaryDirectory() as folder:
        for kind in found:
            key = Path(folder, kind)
            run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"root@{hostname}", "-f", str(key)], timeout=300)
            tree.write(f"/etc/ssh/ssh_host_{kind}_key", key.read_text(encoding="ascii"), 0o600)
            tree.write(f"/etc/ssh/ssh_host_{kind}_key.pub", key.with_suffix(".pub").read_text(encoding="ascii"), 0o644)
