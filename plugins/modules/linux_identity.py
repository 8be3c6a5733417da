#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: linux_identity
short_description: Give a Linux on a disk its own identity, before its first boot
version_added: 0.1.0
description:
  - Sets the name, the machine-id, new SSH host keys and the addresses of a system that is not running, and removes what its
    master left behind that no two machines may share, such as the state of cloud-init, DHCP leases and the keys of agents.
  - With O(disk), C(/etc/fstab) names partitions by their UUID instead of the kernel's names, the system does not wait for a swap
    partition to resume from that is not there, and UEFI finds its loader, at the fallback path and by an entry in the firmware.
  - The system keeps a record of it in C(/var/lib/reimage/identity.json), without secrets. A system that has the identity that is
    asked for is not changed; one that only gets other addresses keeps its machine-id and keys.
  - Without O(disk) and O(path), only what is declared is checked, so that a mistake is found before a disk is written.
  - A file that is written keeps its SELinux label, or gets the one that the policy of the system has for it. Where that cannot be
    told, C(/.autorelabel) has the first start label all files, and there is a warning.
  - All is checked before anything is written. Links in the image that lead out of it are not followed.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.interfaces]
attributes:
  diff_mode:
    support: full
options:
  disk:
    description:
      - The disk, a device or a raw disk file, or a mapping as for M(reimage.lab.image_deploy). The one partition that holds the
        root of a Linux system is found on it.
      - A disk that is in use is refused. It is locked meanwhile (flock, as udev and systemd do), and whoever else is at work on
        it is named.
    type: raw
  path:
    description: The root of the system, if it is mounted already.
    type: path
  hostname:
    description: The name of the machine, alone or with its domain, such as V(pc-01.example.org); C(/etc/hosts) gets both.
    type: str
    required: true
  image:
    description: The image that the disk holds, to be recorded.
    type: str
    default: ""
  machine_id:
    description: The machine-id, 32 hexadecimal digits. By default one is made.
    type: str
    default: ""
  keep:
    description:
      - Which of the things that a machine does not share with its master stay as they are on the image. C(docs/linux.md) of the
        collection lists them, each with its files and its reason.
      - It matters when the system is given its identity, not when it has it.
    type: list
    elements: str
    default: []
    choices: [agents, chef, cloud-init, credential-secret, dhcp, domain, iscsi, lvm-devices, machine-info, networkmanager, nvme,
      puppet, random-seed, salt, subscription, udev-names]
  boot_entry:
    description:
      - Have an entry for the disk in the firmware of the machine that this runs on, if it was started by UEFI, and remove those
        that this module made for partitions that are gone. It comes after the entry that the machine was started by, so that a
        machine that starts over the network first goes on to do so.
      - It needs C(efibootmgr) and a O(disk) that is a device. Without, only the fallback path is ensured.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Name the machine after the manifest
  reimage.lab.linux_identity:
    disk: /dev/vda
    hostname: "{{ inventory_hostname }}"
    image: classroom-linux/20261121T093000Z
  register: identity

- name: Give it an address of its own too
  reimage.lab.linux_identity:
    disk: /dev/vda
    hostname: "{{ inventory_hostname }}"
    interfaces:
      - mac: "{{ reimage_macs | first }}"
        addresses: [192.0.2.7/24]
        gateway: 192.0.2.1
        dns: [192.0.2.53]
"""

RETURN = r"""
machine_id:
  description: The machine-id.
  returned: when O(disk) or O(path) is given
  type: str
host_keys:
  description: The public SSH host keys, for known_hosts.
  returned: when O(disk) or O(path) is given
  type: list
  elements: str
root:
  description: The partition, or the folder, that holds the system.
  returned: when O(disk) or O(path) is given
  type: str
network:
  description:
    - What sets up the system's network, V(netplan), V(networkmanager), V(networkd) or V(ifupdown); empty if none of them does.
    - A netplan that leaves everything to NetworkManager counts as the latter.
  returned: when O(disk) or O(path) is given
  type: str
files:
  description: The files for the network, cloud-init, C(fstab) and resuming that were written or removed, or would be.
  returned: when O(disk) or O(path) is given
  type: list
  elements: str
renewed:
  description: The files and folders of the master that were removed or written anew, or would be, which depends on O(keep).
  returned: when O(disk) or O(path) is given
  type: list
  elements: str
boot:
  description: What was done, or would be, so that UEFI finds the system. All are empty if the disk has no EFI system partition.
  returned: when O(disk) or O(path) is given
  type: dict
  contains:
    fallback:
      description: Files that were missing on the EFI system partition.
      type: list
      elements: str
    entries_added:
      description: Labels of entries that the firmware was given.
      type: list
      elements: str
    entries_removed:
      description: Labels of entries of this module for partitions that are gone.
      type: list
      elements: str
"""

from pathlib import Path
from typing import Any, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import claimed
from ansible_collections.reimage.lab.plugins.module_utils.identity.interfaces import Addresses, Interface, interfaces_from
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.identity import (
    check,
    cloud_init_settings,
    current,
    give,
    recorded,
)
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.leftovers import NAMES, leftovers
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.mounts import mount_settings
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.network import detect, network_settings
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.root import mounted_root
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.tree import Tree
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.uefi import Started, ensure_start
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import Partition, read_table
from ansible_collections.reimage.lab.plugins.module_utils.options import argument_spec


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    check(options["hostname"], options["machine_id"])
    interfaces = interfaces_from(options["interfaces"])
    if options["disk"] is None and options["path"] is None:
        return {"changed": False}
    started = Started()
    if options["disk"] is not None:
        with claimed(options["disk"], write=not module.check_mode) as disk:
            # What cannot be is refused before anything is written.
            ensure_start(disk, boot_entry=options["boot_entry"], dry_run=True)
            with mounted_root(disk, read_only=module.check_mode) as (folder, partition):
                result = apply(module, folder, partition.name, interfaces, read_table(disk))
            started = ensure_start(disk, boot_entry=options["boot_entry"], dry_run=module.check_mode)
    else:
        result = apply(module, Path(options["path"]), options["path"], interfaces, [])
    for warning in started.warnings:
        module.warn(warning)
    boot = {name: getattr(started, name) for name in ("fallback", "entries_added", "entries_removed")}
    return {**result, "changed": result["changed"] or started.changed, "boot": boot}


def apply(
    module: AnsibleModule, folder: Path, root: str, interfaces: Sequence[Interface], disk: Sequence[Partition]
) -> dict[str, Any]:
    options, tree = module.params, Tree(folder)
    settings = network_settings(tree, interfaces)
    settings.add(cloud_init_settings(tree, interfaces))
    if disk:
        settings.add(mount_settings(tree, disk))
    for warning in settings.warnings:
        module.warn(warning)
    before, name, files = recorded(tree), (tree.read("/etc/hostname") or "").strip(), settings.differing(tree)
    diff, wanted = settings.diff(tree), (options["hostname"], options["image"], options["machine_id"])
    renewed = [] if current(tree, *wanted) else leftovers(tree, options["keep"])
    changed, identity = give(
        tree,
        *wanted,
        interfaces=interfaces,
        settings=settings,
        keep=options["keep"],
        dry_run=module.check_mode,
    )
    if tree.unlabelled:
        module.warn(
            f"the SELinux policy of the system has no label for {', '.join(tree.unlabelled)}: its first start labels all files"
            " anew, which takes minutes"
        )
    named = {
        "before": f"hostname: {name}\nimage: {before.image if before else ''}\n",
        "after": f"hostname: {identity.hostname}\nimage: {identity.image}\n",
    }
    return {
        "changed": changed,
        "machine_id": identity.machine_id,
        "host_keys": identity.host_keys,
        "root": root,
        "network": detect(tree),
        "files": files,
        "renewed": renewed,
        "diff": [named, *diff, *_renewed(renewed)],
    }


def _renewed(names: Sequence[str]) -> list[dict[str, str]]:
    """Return the names as Ansible shows a difference. What these files hold may be secret."""
    header = "of the master, removed or written anew"
    return [{"before_header": header, "after_header": header, "before": "\n".join(names) + "\n", "after": ""}] if names else []


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "disk": {"type": "raw"},
            "path": {"type": "path"},
            "hostname": {"type": "str", "required": True},
            "image": {"type": "str", "default": ""},
            "machine_id": {"type": "str", "default": ""},
            "keep": {"type": "list", "elements": "str", "default": [], "choices": NAMES},
            **argument_spec(Addresses),
            "boot_entry": {"type": "bool", "default": True},
        },
        mutually_exclusive=[("disk", "path")],
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
