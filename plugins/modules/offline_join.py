#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: offline_join
short_description: Give a machine its account in an Active Directory domain, before it exists
version_added: 0.1.0
description:
  - Runs C(net offlinejoin provision) of Samba, on the controller or on a host of the domain, and keeps the blob in a file that
    only its owner can read. M(reimage.lab.sysprep_inject) puts it into the machine's answer file.
  - The blob holds the password of the machine's account. It is not returned.
  - Making an account again invalidates the earlier blob, so it is made once for each O(deployment).
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes]
requirements:
  - net (Debian package samba-common-bin)
options:
  computer_name:
    description: Name of the machine, at most 15 characters.
    type: str
    required: true
  domain:
    description: DNS name of the domain.
    type: str
    required: true
  username:
    description: Account that may make accounts for machines.
    type: str
    required: true
  password:
    description: Its password. It is handed over in a file, never on a command line.
    type: str
    required: true
  ou:
    description: Distinguished name of the organizational unit for the account.
    type: str
    default: ""
  controller:
    description: Name of a domain controller. By default DNS finds one.
    type: str
    default: ""
  netbios_name:
    description: Short name of the domain. By default the first part of O(domain).
    type: str
    default: ""
  deployment:
    description: What makes this deployment another than the last one, such as the image and its version.
    type: str
    required: true
  cache:
    description: Folder of the blobs.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: An account for the machine
  reimage.lab.offline_join:
    computer_name: "{{ inventory_hostname }}"
    domain: school.example.org
    username: joiner
    password: "{{ joiner_password }}"
    ou: OU=Lab,DC=school,DC=example,DC=org
    deployment: classroom-windows-2026-09
    cache: "{{ 'var/secrets/offline_join' | realpath }}"
  delegate_to: localhost
  register: joined

- name: Its answer file
  reimage.lab.sysprep_inject:
    disk: /dev/nvme0n1
    computer_name: "{{ inventory_hostname }}"
    join:
      offline_blob: "{{ lookup('ansible.builtin.file', joined.file) }}"
  no_log: true
"""

RETURN = r"""
file:
  description: The file that holds the blob.
  returned: success
  type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.offline_join import Domain, provision


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    domain = Domain(
        options["domain"],
        options["username"],
        options["password"],
        options["ou"],
        options["controller"],
        options["netbios_name"],
    )
    file, made = provision(
        domain, options["computer_name"], Path(options["cache"]), options["deployment"], dry_run=module.check_mode
    )
    return {"changed": made, "file": str(file)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "computer_name": {"type": "str", "required": True},
            "domain": {"type": "str", "required": True},
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "ou": {"type": "str", "default": ""},
            "controller": {"type": "str", "default": ""},
            "netbios_name": {"type": "str", "default": ""},
            "deployment": {"type": "str", "required": True},
            "cache": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
