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
    C(Sysprep\sysprep.inf) for Windows XP and Server 2003; from the options, or from a file of the user's own into which they are
    merged.
  - Answer files that Windows would take instead are removed. A task deletes the file, and the secrets in it, when the setup of
    Windows is complete. C(SetupComplete.cmd) is left alone.
  - All is checked before anything is written. A second run changes nothing.
  - Without O(disk) and O(path), only what is declared is checked, so that a mistake is found before a disk is written.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment:
  - reimage.lab.attributes
  - reimage.lab.interfaces
  - reimage.lab.sysprep
  - reimage.lab.windows
attributes:
  diff_mode:
    support: full
    details: Secrets are masked.
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
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import claimed
from ansible_collections.reimage.lab.plugins.module_utils.identity.interfaces import Addresses
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import disk_facts
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import Answers, Injection, from_options
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.sysprep import inject
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.template import load
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.unattend import specialize_commands
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import Place, Volume, mounted_windows
from ansible_collections.reimage.lab.plugins.module_utils.options import argument_spec


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    answers = from_options(options)
    if options["path"]:
        return apply(module, Path(options["path"]), answers)
    if not options["disk"]:
        specialize_commands(answers.settled(template=bool(options["template"])))
        return {"changed": False, "files": []}
    with claimed(options["disk"], write=not module.check_mode) as disk:
        with mounted_windows(disk, read_only=module.check_mode) as (folder, _partition):
            result = apply(module, folder, answers)
        mended = disk_facts.mend(disk, dry_run=module.check_mode)
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
    module = AnsibleModule(
        argument_spec=argument_spec(Answers, Addresses, Injection, Place),
        mutually_exclusive=[("disk", "path")],
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
