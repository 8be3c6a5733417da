#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_export
short_description: Write an image for Clonezilla, FOG or a hypervisor
version_added: 0.1.0
description:
  - Writes an image of a store as a folder that Clonezilla or FOG restores, or as the disk file of a virtual machine.
  - Disk files are written directly from the store's chunks, in any format, through QEMU's storage daemon and FUSE. For a folder,
    the disk is first put together as a sparse file in O(work_folder).
  - O(destination) appears when it is complete. An export that was interrupted leaves nothing there.
  - Runs as root where the destination is. It needs losetup, sfdisk and sgdisk, and partclone and parted for folders, or qemu-img
    and qemu-storage-daemon for disk files.
notes:
  - For FOG, move the folder to where FOG keeps its images, and make an image in its web interface with the folder's name as path,
    of type C(Single Disk - Resizable) or C(Multiple Partition Image - Single Disk), and with C(Partclone Zstd) as image manager.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.image.source, reimage.lab.store_access]
options:
  destination:
    description:
      - The folder or disk file to make. If it exists already, nothing is done, and it is not looked at; an empty folder does not
        count.
    type: path
    required: true
  format:
    description: What shall read it.
    type: str
    choices: [clonezilla, fog, raw, qcow2, vmdk, vhdx, vdi]
    required: true
  compression_level:
    description: How hard zstd compresses the files of a folder.
    type: int
    default: 3
  work_folder:
    description: Where the disk is put together for a folder, and removed afterwards. It takes as much space as the image uses.
    type: path
    default: /var/tmp
  progress_file:
    description: Where to write how far it is, as JSON. Nothing is written if its folder is missing.
    type: path
    default: /run/reimage/progress.json
"""

EXAMPLES = r"""
- name: Try the lab's image in a virtual machine
  reimage.lab.image_export:
    store: /srv/reimage/store
    name: classroom-linux
    destination: /var/lib/libvirt/images/classroom-linux.qcow2
    format: qcow2

- name: Hand the image to a school that uses Clonezilla
  reimage.lab.image_export:
    store: /srv/reimage/store
    name: classroom-windows
    version: "2025"
    destination: /home/partimag/classroom-windows-2025
    format: clonezilla
"""

RETURN = r"""
image:
  description: The image, as NAME/VERSION.
  returned: success
  type: str
  sample: classroom-linux/20261121T093000Z
destination:
  description: Where it is.
  returned: success
  type: str
bytes:
  description: Bytes that the destination takes.
  returned: when not in check mode
  type: int
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.transfer import EXPORT_FORMATS, exists, export_image
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import file_writer
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.access import Access
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_store
from ansible_collections.reimage.lab.plugins.module_utils.options import argument_spec, read


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    destination = Path(options["destination"])
    store = open_store(options["store"], read(Access, options))
    index, _digest = read_index(store, options["name"], options["version"])
    result: dict[str, Any] = {"image": index.image, "destination": str(destination)}
    if module.check_mode:
        return {**result, "changed": not exists(destination)}
    changed = export_image(
        store,
        index,
        destination,
        options["format"],
        level=options["compression_level"],
        work_folder=options["work_folder"],
        callback=file_writer(options["progress_file"]),
    )
    return {**result, "changed": changed, "bytes": size(destination)}


def size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_blocks * 512 for file in files)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argument_spec(Access),
            "store": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "default": "latest"},
            "destination": {"type": "path", "required": True},
            "format": {"type": "str", "choices": list(EXPORT_FORMATS), "required": True},
            "compression_level": {"type": "int", "default": 3},
            "work_folder": {"type": "path", "default": "/var/tmp"},  # noqa: S108  a folder of its own is made in it
            "progress_file": {"type": "path", "default": "/run/reimage/progress.json"},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
