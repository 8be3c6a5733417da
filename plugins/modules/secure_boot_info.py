#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secure_boot_info
short_description: Say whether Secure Boot is on, whom the firmware trusts, and whether it starts what is on a disk
version_added: 0.1.0
description:
  - Reads the firmware's variables, and with O(disk) the boot managers on its EFI system partition. Nothing is written.
  - Whether a signature is right is for the firmware to say. This module says whose it is.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes]
options:
  disk:
    description: A disk whose boot managers to compare with what the firmware trusts, a block device or a raw disk file.
    type: path
  must_start:
    description:
      - Fail if RV(starts) is false. Where db trusts single programs by their hash, or cannot be read, nothing is sure, and the
        module does not fail.
    type: bool
    default: false
  variables:
    description: The folder of the firmware's variables.
    type: path
    default: /sys/firmware/efi/efivars
"""

EXAMPLES = r"""
- name: Ask whether this machine would start what is on its disk
  reimage.lab.secure_boot_info:
    disk: /dev/nvme0n1
    must_start: true
"""

RETURN = r"""
secure_boot:
  description: What the firmware says; null if it has no Secure Boot, as with a BIOS.
  returned: success
  type: dict
  contains:
    enabled:
      description: Whether Secure Boot is on.
      type: bool
    setup_mode:
      description: Whether the firmware takes new keys from everybody.
      type: bool
    db:
      description: The certificates that it trusts.
      type: list
      elements: str
    kek:
      description: Those who may change what it trusts.
      type: list
      elements: str
    dbx:
      description: The certificates that it refuses.
      type: list
      elements: str
    warnings:
      description: What will not start on this machine, in sentences.
      type: list
      elements: str
  sample:
    enabled: true
    setup_mode: false
    db: [Microsoft Windows Production PCA 2011, Microsoft Corporation UEFI CA 2011]
    kek: [Microsoft Corporation KEK CA 2011]
    dbx: []
    warnings: []
programs:
  description: The boot managers and shims on O(disk).
  returned: when O(disk) is given
  type: list
  elements: dict
  contains:
    path:
      description: Its path on the EFI system partition.
      type: str
    signers:
      description: The certificates of all its signatures.
      type: list
      elements: str
    trusted:
      description: Whether the firmware trusts one of its signatures. Without Secure Boot it starts everything.
      type: bool
starts:
  description: False if Secure Boot is on and the firmware trusts nobody who signed a boot manager of O(disk).
  returned: when O(disk) is given
  type: bool
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError
from ansible_collections.reimage.lab.plugins.module_utils.hardware.secure_boot import FOLDER, SecureBoot, secure_boot
from ansible_collections.reimage.lab.plugins.module_utils.hardware.signatures import signers
from ansible_collections.reimage.lab.plugins.module_utils.identity.boot_programs import boot_programs


def work(module: AnsibleModule) -> dict[str, Any]:
    found = secure_boot(Path(module.params["variables"]))
    result: dict[str, Any] = {"changed": False, "secure_boot": found and shown(found)}
    if module.params["disk"]:
        programs = [judged(path, program, found) for path, program in sorted(boot_programs(module.params["disk"]).items())]
        sure = found is not None and found.enabled and not found.problems and not found.hashes
        starts = not sure or not programs or any(one["trusted"] for one in programs)
        result.update(programs=programs, starts=starts)
        if not starts and module.params["must_start"]:
            module.fail_json(msg=refused(module.params["disk"], result), **result)
    return result


def refused(disk: str, result: dict[str, Any]) -> str:
    """Return the sentence that says why a disk will not start, and what to do."""
    signed = [f"{one['path']} ({', '.join(one['signers']) or 'not signed'})" for one in result["programs"]]
    return (
        f"{disk}: Secure Boot is on, and this firmware trusts nobody who signed {' and '.join(signed)}. It trusts"
        f" {', '.join(result['secure_boot']['db']) or 'no certificate'}. Capture an image whose boot manager is signed by one of"
        " these, bring the missing certificate into db, or switch Secure Boot off"
    )


def shown(found: SecureBoot) -> dict[str, Any]:
    """Return what the firmware says, as text."""
    lists = {name: [str(one) for one in getattr(found, name)] for name in ("db", "kek", "dbx")}
    return {"enabled": found.enabled, "setup_mode": found.setup_mode, **lists, "warnings": found.warnings}


def judged(path: str, program: bytes, found: SecureBoot | None) -> dict[str, Any]:
    """Return who signed a program, and whether the firmware trusts one of them."""
    try:
        chains = signers(program)
    except HardwareError:
        chains = []
    trusted = found is None or not found.enabled or any(found.trusts(chain) for chain in chains)
    return {"path": path, "signers": [str(one) for chain in chains for one in chain], "trusted": trusted}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "disk": {"type": "path"},
            "must_start": {"type": "bool", "default": False},
            "variables": {"type": "path", "default": str(FOLDER)},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
