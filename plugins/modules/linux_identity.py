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
  - Sets the name, the machine-id and new SSH host keys of a system that is not running, and removes what its master left behind
    that no two machines may share.
  - The system keeps a record of it in C(/var/lib/reimage/identity.json), without secrets. A system that has the identity that is
    asked for is not changed.
  - Links in the image that lead out of it are not followed.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes]
attributes:
  diff_mode:
    support: full
options:
  disk:
    description: The disk, a device or a raw disk file. The one partition that holds the root of a Linux system is found on it.
    type: path
  path:
    description: The root of the system, if it is mounted already.
    type: path
  hostname:
    description: The name of the machine, without a domain.
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
"""

EXAMPLES = r"""
- name: Name the machine after the manifest
  reimage.lab.linux_identity:
    disk: /dev/vda
    hostname: "{{ inventory_hostname }}"
    image: classroom-linux/20261121T093000Z
  register: identity
"""

RETURN = r"""
machine_id:
  description: The machine-id.
  returned: success
  type: str
host_keys:
  description: The public SSH host keys, for known_hosts.
  returned: success
  type: list
  elements: str
root:
  description: The partition, or the folder, that holds the system.
  returned: success
  type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux import check, give, recorded
from ansible_collections.reimage.lab.plugins.module_utils.identity.root import mounted_root
from ansible_collections.reimage.lab.plugins.module_utils.identity.tree import Tree


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    check(options["hostname"], options["machine_id"])
    if options["path"]:
        return apply(module, Path(options["path"]), options["path"])
    with mounted_root(options["disk"], read_only=module.check_mode) as (folder, partition):
        return apply(module, folder, partition.name)


def apply(module: AnsibleModule, folder: Path, root: str) -> dict[str, Any]:
    options = module.params
    tree = Tree(folder)
    before = recorded(tree)
    name = (tree.read("/etc/hostname") or "").strip()
    changed, identity = give(tree, options["hostname"], options["image"], options["machine_id"], dry_run=module.check_mode)
    return {
        "changed": changed,
        "machine_id": identity.machine_id,
        "host_keys": identity.host_keys,
        "root": root,
        "diff": {
            "before": f"hostname: {name}\nimage: {before.image if before else ''}\n",
            "after": f"hostname: {identity.hostname}\nimage: {identity.image}\n",
        },
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "disk": {"type": "path"},
            "path": {"type": "path"},
            "hostname": {"type": "str", "required": True},
            "image": {"type": "str", "default": ""},
            "machine_id": {"type": "str", "default": ""},
        },
        mutually_exclusive=[("disk", "path")],
        required_one_of=[("disk", "path")],
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
