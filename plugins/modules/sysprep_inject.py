#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sysprep_inject
short_description: Make the first boot of a generalized Windows unattended, under the machine's own name
version_added: 0.1.0
description:
  - Writes the answer file of a Windows on a disk, C(Windows\Panther\unattend.xml) for Windows Vista and later, or
    C(Sysprep\sysprep.inf) for Windows XP and Server 2003; from the options, or from a file of the user's own in which only the
    identity is set.
  - Answer files that Windows would take instead are removed. C(SetupComplete.cmd) deletes the file, and the secrets in it, after
    the first boot.
  - All is checked before anything is written. A second run changes nothing.
  - Without O(disk) and O(path), only what is declared is checked, so that a mistake is found before a disk is written.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment:
  - reimage.lab.attributes
  - reimage.lab.interfaces
  - reimage.lab.windows
attributes:
  diff_mode:
    support: full
    details: Secrets are masked.
options:
  computer_name:
    description: Name of the machine, at most 15 letters, digits and dashes.
    type: str
    required: true
  image:
    description: Name and version of the image that the disk holds, which is recorded in C(ProgramData\reimage\identity.json).
    type: str
    default: ""
  time_zone:
    description: Time zone, by its name in Windows, such as V(W. Europe Standard Time).
    type: str
    default: ""
  product_key:
    description: Product key.
    type: str
    default: ""
  locale:
    description: Language and region of the system, its keyboard and its users, such as V(de-DE).
    type: str
    default: ""
  join:
    description: Where the machine belongs.
    type: dict
    suboptions:
      workgroup:
        description: Name of a workgroup.
        type: str
      domain:
        description: DNS name of a domain.
        type: str
      ou:
        description: Distinguished name of the organizational unit for the machine's account.
        type: str
      username:
        description: Account that may join machines.
        type: str
      password:
        description: Its password.
        type: str
      offline_blob:
        description: What C(net offlinejoin provision) gave for this machine; no credentials are needed with it.
        type: str
  accounts:
    description: Local accounts to make. Windows 11 needs at least one.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the account.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
      group:
        description: Its groups, separated by semicolons.
        type: str
        default: Administrators
      display_name:
        description: Name to show.
        type: str
  auto_logon:
    description: Log on by itself, the first times.
    type: dict
    suboptions:
      account:
        description: One of O(accounts).
        type: str
        required: true
      count:
        description: How many times. Windows adds one.
        type: int
        default: 1
  first_logon_commands:
    description: Commands to run when O(auto_logon) logs on for the first time, at most 1024 characters each.
    type: list
    elements: str
    default: []
  specialize_commands:
    description: Commands to run as the system itself, before anybody can log on, at most 259 characters each.
    type: list
    elements: str
    default: []
  remoting:
    description: How Ansible is to reach the machine, WinRM over HTTPS, OpenSSH, or not at all.
    type: str
    choices: [winrm, ssh, none]
    default: winrm
  ssh_keys:
    description: Public keys of administrators, for O(remoting=ssh).
    type: list
    elements: str
    default: []
  drivers:
    description: Install the drivers that are in C(C:\Drivers), such as M(reimage.lab.windows_drivers) puts there.
    type: bool
    default: false
  device_encryption:
    description: Let Windows encrypt the disk by itself.
    type: bool
    default: false
  full_name:
    description: The registered owner.
    type: str
    default: ""
  organization:
    description: The registered organization.
    type: str
    default: ""
  template:
    description:
      - An answer file of the user's own, on the machine where this runs. Name, product key, time zone and membership are set in
        it, and nothing else.
    type: path
  require_generalized:
    description: Refuse a Windows that is not generalized.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: A member of the domain, joined offline
  reimage.lab.sysprep_inject:
    disk: /dev/nvme0n1
    computer_name: "{{ inventory_hostname }}"
    time_zone: W. Europe Standard Time
    locale: de-DE
    join:
      offline_blob: "{{ blob }}"
    accounts:
      - name: technician
        password: "{{ technician_password }}"
  no_log: true
"""

RETURN = r"""
flavour:
  description: What was written, V(unattend) or V(sysprep_inf).
  returned: when O(disk) or O(path) is given
  type: str
files:
  description: The files that were written or removed, below the root of the volume.
  returned: success
  type: list
  elements: str
mended:
  description: The files in which Windows was told that it is on another disk now, which is not so after a deploy of ours.
  returned: when O(disk) is given
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import INTERFACES, run_module
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import disk_facts
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import Answers, from_options
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.sysprep import inject
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.template import load
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.unattend import specialize_commands
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import Volume, mounted_windows


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    answers = from_options(options)
    if options["path"]:
        return apply(module, Path(options["path"]), answers)
    if not options["disk"]:
        specialize_commands(answers)
        return {"changed": False, "files": []}
    with mounted_windows(options["disk"], read_only=module.check_mode) as (folder, _partition):
        result = apply(module, folder, answers)
    mended = disk_facts.mend(options["disk"], dry_run=module.check_mode)
    return {**result, "changed": bool(result["changed"] or mended), "mended": mended}


def apply(module: AnsibleModule, folder: Path, answers: Answers) -> dict[str, Any]:
    options = module.params
    result = inject(
        Volume(folder),
        answers,
        load(options["template"]) if options["template"] else "",
        image=options["image"],
        require_generalized=options["require_generalized"],
        dry_run=module.check_mode,
    )
    return {
        "changed": result.changed,
        "flavour": result.windows.flavour,
        "files": result.files,
        "diff": {"before": result.before, "after": result.after},
    }


def main() -> None:
    join = {name: {"type": "str"} for name in ("workgroup", "domain", "ou", "username")}
    secret = {"type": "str", "no_log": True}
    names = {"type": "list", "elements": "str", "default": []}
    account = {
        "name": {"type": "str", "required": True},
        "password": {**secret, "required": True},
        "group": {"type": "str", "default": "Administrators"},
        "display_name": {"type": "str"},
    }
    logon = {"account": {"type": "str", "required": True}, "count": {"type": "int", "default": 1}}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "disk": {"type": "path"},
            "computer_name": {"type": "str", "required": True},
            "image": {"type": "str", "default": ""},
            "time_zone": {"type": "str", "default": ""},
            "product_key": {**secret, "default": ""},
            "locale": {"type": "str", "default": ""},
            "join": {"type": "dict", "options": {**join, "password": secret, "offline_blob": secret}},
            "interfaces": INTERFACES,
            "accounts": {"type": "list", "elements": "dict", "options": account, "default": []},
            "auto_logon": {"type": "dict", "options": logon},
            "first_logon_commands": names,
            "specialize_commands": names,
            "remoting": {"type": "str", "choices": ["winrm", "ssh", "none"], "default": "winrm"},
            "ssh_keys": {**names, "no_log": False},
            "drivers": {"type": "bool", "default": False},
            "device_encryption": {"type": "bool", "default": False},
            "full_name": {"type": "str", "default": ""},
            "organization": {"type": "str", "default": ""},
            "template": {"type": "path"},
            "require_generalized": {"type": "bool", "default": True},
        },
        mutually_exclusive=[("disk", "path")],
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
