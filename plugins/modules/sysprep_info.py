#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sysprep_info
short_description: Say what a Windows that is not running is, and whether it is ready to become many machines
version_added: 0.1.0
description:
  - Reads the registry and the files of a Windows on a disk. Nothing is written.
  - A Windows is generalized if all four marks of it are there. One of them alone is also true of ordinary systems.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment:
  - reimage.lab.attributes
  - reimage.lab.windows
"""

EXAMPLES = r"""
- name: Look at the master
  reimage.lab.sysprep_info:
    disk: /dev/nvme0n1
  register: master
  failed_when: master.windows.problems | length > 0
"""

RETURN = r"""
windows:
  description: The Windows that was found.
  returned: success
  type: dict
  contains:
    build:
      description: Build of Windows, such as V(22631).
      type: int
    edition:
      description: Edition, such as V(Professional).
      type: str
    product:
      description: Name of the product. Windows 11 calls itself Windows 10 here; the build tells them apart.
      type: str
    architecture:
      description: One of V(amd64), V(x86), V(arm64).
      type: str
    languages:
      description: The languages of menus and dialogs that it has, such as V(de-DE), beginning with the one it was installed in.
      type: list
      elements: str
    language:
      description: Language that it was installed in.
      type: str
    control_set:
      description: The current control set, such as V(ControlSet001).
      type: str
    flavour:
      description: How it takes its identity, V(unattend) or V(sysprep_inf).
      type: str
    generalized:
      description: Whether all marks of a generalized Windows are there.
      type: bool
    markers:
      description: Each mark, and whether it is there.
      type: dict
    stale_answer_files:
      description: Answer files that Windows would take before or beside the one that M(reimage.lab.sysprep_inject) writes.
      type: list
      elements: str
    finds_disk:
      description: Whether this Windows will find the disk that it is on.
      returned: when O(disk) is given
      type: bool
    disk_problems:
      description: Why it will not, in sentences. M(reimage.lab.sysprep_inject) mends what comes of other identifiers.
      returned: when O(disk) is given
      type: list
      elements: str
    problems:
      description: What should be put right on the master, in sentences.
      type: list
      elements: str
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems import ntfs
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import claimed
from ansible_collections.reimage.lab.plugins.module_utils.identity.partition import partitions
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import disk_facts
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inspect import inspect
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import FILESYSTEMS, Place, Volume, one_windows
from ansible_collections.reimage.lab.plugins.module_utils.options import argument_spec


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    if options["path"]:
        return {"changed": False, "windows": describe(Path(options["path"]))}
    with claimed(options["disk"], write=False) as disk:
        with partitions(disk, FILESYSTEMS, read_only=True) as found:
            partition = one_windows(disk, found)
            states = ntfs.states(partition.device)  # which cannot be told while it is mounted
            with partition.mounted("ro", "ntfs-3g") as folder:
                windows = describe(folder)
        windows["disk_problems"] = disk_facts.read(disk).problems
    windows["problems"] += [f"its volume is {state}: start Windows and shut it down" for state in states]
    windows["finds_disk"] = not windows["disk_problems"]
    return {"changed": False, "windows": windows}


def describe(folder: Path) -> dict[str, Any]:
    found = inspect(Volume(folder))
    return {**asdict(found), "flavour": found.flavour}


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(Place),
        mutually_exclusive=[("disk", "path")],
        required_one_of=[("disk", "path")],
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
