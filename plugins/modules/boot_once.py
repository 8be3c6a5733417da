# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: boot_once
short_description: Have UEFI firmware start a disk at the next start
description:
  - Gives the firmware of the machine an entry for the loader at the fallback path of the disk, and has it start that at the next
    start, once. The boot order stays as it is, so a machine that boots from the network first goes on doing so.
  - Does nothing on a machine without UEFI, or for a disk without an EFI system partition.
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes]
attributes:
  idempotent:
    support: none
    description: The firmware forgets it at the next start, so it is set anew each time.
options:
  disk:
    description: The disk, a block device.
    type: path
    required: true
requirements:
  - efibootmgr
"""

EXAMPLES = r"""
- name: Start the disk next, and not the network
  reimage.lab.boot_once:
    disk: /dev/sda
"""

RETURN = r"""
told:
  description: Whether the firmware will start the disk next.
  returned: success
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.uefi import start_once


def work(module: AnsibleModule) -> dict[str, Any]:
    told = start_once(module.params["disk"], dry_run=module.check_mode)
    return {"changed": told, "told": told}


def main() -> None:
    module = AnsibleModule(argument_spec={"disk": {"type": "path", "required": True}}, supports_check_mode=True)
    run_module(module, work)


if __name__ == "__main__":
    main()
