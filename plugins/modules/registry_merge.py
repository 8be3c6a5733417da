#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_merge
short_description: Change the registry of a Windows that is not running
version_added: 0.1.0
description:
  - Merges registry files, as regedit exports them, and declared keys into the hives of a Windows on a disk.
  - C(HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet), which does not exist in a Windows that is not running, means the control set
    that Windows will use.
  - A hive is written once, and only if something in it differs. If one change cannot be, nothing is written. Each change sees the
    result of those before it, so that the last one wins.
  - A hive that Windows did not finish writing is completed from its transaction logs. One that is damaged is refused, and so is a
    change of a key with a value of more than 16,344 bytes.
  - Without O(disk) and O(path), only what is declared is checked, so that a mistake is found before a disk is written.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment:
  - reimage.lab.attributes
  - reimage.lab.windows
attributes:
  diff_mode:
    support: full
options:
  files:
    description:
      - Registry files on the machine where this runs, in UTF-16 or UTF-8, in the order in which they are merged.
      - C(HKEY_CURRENT_USER) is refused without O(default_profile), for nobody is logged on; C(HKEY_USERS\Default) is the profile
        that new accounts get.
    type: list
    elements: path
    default: []
  keys:
    description: What is to be true of keys and values. They are merged after O(files).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The key, such as V(HKLM\\SOFTWARE\\Policies\\Example).
        type: str
        required: true
      name:
        description: Name of the value; V("") for the key's default value. Without it, it is about the key itself.
        type: str
      data:
        description: The data; a list for O(keys[].type=multi), hexadecimal digits for O(keys[].type=binary).
        type: raw
      type:
        description: Type of the value.
        type: str
        choices: [none, string, expand, binary, dword, multi, qword]
        default: string
      state:
        description: Whether it is to be there.
        type: str
        choices: [present, absent]
        default: present
  default_profile:
    description:
      - Put what is said of C(HKEY_CURRENT_USER) into the profile that new accounts get. Accounts that exist already keep theirs.
      - C(HKEY_CURRENT_USER\Software\Classes) is refused, for it is in another hive.
    type: bool
    default: false
  export:
    description: Keys to return with all that is in them, after the merge, so that two machines or two runs can be compared.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Settings of this room
  reimage.lab.registry_merge:
    disk: /dev/nvme0n1
    files: [/run/reimage/room.reg]
    keys:
      - path: HKLM\SYSTEM\CurrentControlSet\Control\BitLocker
        name: PreventDeviceEncryption
        type: dword
        data: 1
      - path: HKLM\SOFTWARE\Vendor\Updater
        state: absent
"""

RETURN = r"""
hives:
  description: The hives that were changed, below the root of the volume.
  returned: success
  type: list
  elements: str
exported:
  description: The keys of O(export), as a registry file.
  returned: when O(export) is given, and there is a Windows to read it from
  type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import claimed
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.regfile import Change, declared, read
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.registry import (
    by_hive,
    export,
    in_default_profile,
    merge,
)
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import Place, Volume, mounted_windows
from ansible_collections.reimage.lab.plugins.module_utils.options import argument_spec


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    changes = [change for file in options["files"] for change in read(Path(file))]
    changes += [declared({key: value for key, value in item.items() if value is not None}) for item in options["keys"]]
    if options["default_profile"]:
        changes = [in_default_profile(change) for change in changes]
    if options["path"]:
        return apply(module, Path(options["path"]), changes)
    if not options["disk"]:
        by_hive(changes)
        return {"changed": False, "hives": []}
    read_only = module.check_mode
    with claimed(options["disk"], write=not read_only) as disk, mounted_windows(disk, read_only=read_only) as (folder, _windows):
        return apply(module, folder, changes)


def apply(module: AnsibleModule, folder: Path, changes: list[Change]) -> dict[str, Any]:
    volume = Volume(folder)
    merged = merge(volume, changes, dry_run=module.check_mode)
    exported = {"exported": export(volume, module.params["export"])} if module.params["export"] else {}
    return {
        **exported,
        "changed": bool(merged.hives),
        "hives": merged.hives,
        "diff": {"before": merged.before, "after": merged.after},
    }


def main() -> None:
    key = {
        "path": {"type": "str", "required": True},
        "name": {"type": "str"},
        "data": {"type": "raw"},
        "type": {
            "type": "str",
            "choices": ["none", "string", "expand", "binary", "dword", "multi", "qword"],
            "default": "string",
        },
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    module = AnsibleModule(
        argument_spec={
            **argument_spec(Place),
            "files": {"type": "list", "elements": "path", "default": []},
            "keys": {"type": "list", "elements": "dict", "options": key, "default": [], "no_log": False},
            "default_profile": {"type": "bool", "default": False},
            "export": {"type": "list", "elements": "str", "default": []},
        },
        mutually_exclusive=[("disk", "path")],
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
