#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: windows_drivers
short_description: Give a Windows on a disk the drivers that this machine needs
version_added: 0.1.0
description:
  - Chooses a driver pack by the model of the machine, and copies what the machine's devices need of it to C(C:\Drivers). With its
    option O(reimage.lab.sysprep_inject#module:drivers), M(reimage.lab.sysprep_inject) has Windows install it at its first start;
    for Windows XP, which must be told each folder, it runs after this module.
  - Packs are folders C(VENDOR/PRODUCT) or C(VENDOR/PRODUCT/SKU), as unpacked by the manufacturer's own tool, with INF files
    anywhere below. Their names are compared with what the firmware says, in any case, as Windows would store them (without
    a dot at the end, and with C(_) for characters that a file cannot have). Names may hold shell wildcards. At each level the
    same name wins over a wildcard, and that over V(_any); the vendor counts first, then the product. If the product has a folder
    that fits the SKU, that folder is the pack, else the whole product is.
  - Files that an earlier run copied, and that the machine does not need any more, are removed. C(C:\Drivers\.reimage.json) lists
    them. Other files there are left alone.
  - All is checked before anything is written. A second run changes nothing.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment:
  - reimage.lab.attributes
  - reimage.lab.windows
attributes:
  diff_mode:
    support: full
options:
  packs:
    description: The folder with all driver packs, on the machine where this runs.
    type: path
    required: true
  vendor:
    description: Vendor of the machine. By default C(sys_vendor) or C(board_vendor) of C(/sys/class/dmi/id).
    type: str
  product:
    description: Product. By default C(product_name), C(product_version), where Lenovo has it, or C(board_name), where HP has it.
    type: str
  sku:
    description: Variant of the product. By default C(product_sku), where Dell has it, or C(board_name).
    type: str
  devices:
    description:
      - The PCI devices, by their identifiers as Windows shows them, such as V(PCI\\VEN_8086&DEV_15BC&SUBSYS_86721043&REV_10).
        C(&CC_) and the six digits of the class may follow. By default the devices of this machine.
    type: list
    elements: str
  select:
    description:
      - V(needed) copies the folders, with all in and below them, that hold an INF that names one of O(devices) for this Windows.
        Folders are copied too if an INF in them names anything that is not on PCI (USB, HID, ACPI, sound codecs, software
        components), or no device at all, for such a device often appears only when another has its driver.
      - V(all) copies the whole pack.
    type: str
    choices: [needed, all]
    default: needed
  required:
    description: Fail if there is no pack for the machine. Otherwise it is a warning.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: The drivers of this model
  reimage.lab.windows_drivers:
    disk: /dev/nvme0n1
    packs: /mnt/drivers
  register: drivers

- name: Have them installed
  reimage.lab.sysprep_inject:
    disk: /dev/nvme0n1
    computer_name: "{{ inventory_hostname }}"
    drivers: true
    accounts:
      - name: technician
        password: "{{ technician_password }}"
  no_log: true

- name: What would a model of which none is here yet need?
  reimage.lab.windows_drivers:
    disk: /srv/masters/classroom.raw
    packs: /srv/drivers
    vendor: LENOVO
    product: 20XWS0AB00
    devices:
      - PCI\VEN_8086&DEV_15FC&SUBSYS_22D117AA&REV_20&CC_020000
  check_mode: true
"""

RETURN = r"""
pack:
  description: The pack that was chosen, below O(packs); empty if there is none.
  returned: success
  type: str
folders:
  description: The folders that the machine needs, below the pack; V(.) is the whole pack.
  returned: success
  type: list
  elements: str
files:
  description: How many files the machine needs.
  returned: success
  type: int
bytes:
  description: How big they are.
  returned: success
  type: int
copied:
  description: The files that were copied now, below C(C:\Drivers).
  returned: success
  type: list
  elements: str
removed:
  description: The files that were removed now, below C(C:\Drivers).
  returned: success
  type: list
  elements: str
matched:
  description: The devices that an INF in the pack names.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The most specific identifier of the device.
      type: str
    address:
      description: Where it is on the bus; empty for one of O(devices).
      type: str
    description:
      description: What kind of device it is.
      type: str
    name:
      description: The identifier under which the INF names it.
      type: str
    inf:
      description: The INF, below the pack.
      type: str
unnamed_devices:
  description: The devices that neither an INF in the pack names nor, as far as its INFs can be read, Windows itself.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The most specific identifier of the device.
      type: str
    address:
      description: Where it is on the bus; empty for one of O(devices).
      type: str
    description:
      description: What kind of device it is.
      type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.hardware import dmi, pci
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import claimed
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.drivers import install
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import Place, Volume, mounted_windows
from ansible_collections.reimage.lab.plugins.module_utils.options import argument_spec


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    if options["path"]:
        return apply(module, Path(options["path"]))
    read_only = module.check_mode
    with claimed(options["disk"], write=not read_only) as disk, mounted_windows(disk, read_only=read_only) as (folder, _windows):
        return apply(module, folder)


def apply(module: AnsibleModule, folder: Path) -> dict[str, Any]:
    options = module.params
    result = install(
        Volume(folder),
        Path(options["packs"]),
        model(options),
        pci.pci_devices() if options["devices"] is None else [pci.from_id(name) for name in options["devices"]],
        everything=options["select"] == "all",
        required=options["required"],
        dry_run=module.check_mode,
    )
    for warning in result.warnings:
        module.warn(warning)
    return {
        "changed": result.changed,
        "pack": result.pack,
        "folders": [name or "." for name in result.folders],
        "files": result.files,
        "bytes": result.size,
        "copied": result.copied,
        "removed": result.removed,
        "matched": [{**shown(match.device), "name": match.name, "inf": match.inf} for match in result.matched],
        "unnamed_devices": [shown(device) for device in result.unnamed],
        "diff": {"before": result.before, "after": result.after},
    }


def model(options: dict[str, Any]) -> dmi.Model:
    """Return what the firmware says, except where an option says otherwise."""
    found = dmi.model()
    names = {"vendor": found.vendors, "product": found.products, "sku": found.skus}
    return dmi.Model(*(names[name] if options[name] is None else [options[name]] for name in names))


def shown(device: pci.PciDevice) -> dict[str, str]:
    return {"id": device.ids[0], "address": device.address, "description": device.description}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argument_spec(Place),
            "packs": {"type": "path", "required": True},
            "vendor": {"type": "str"},
            "product": {"type": "str"},
            "sku": {"type": "str"},
            "devices": {"type": "list", "elements": "str"},
            "select": {"type": "str", "choices": ["needed", "all"], "default": "needed"},
            "required": {"type": "bool", "default": False},
        },
        mutually_exclusive=[("disk", "path")],
        required_one_of=[("disk", "path")],
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
