#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_import
short_description: Make an image of what Clonezilla, FOG or a hypervisor saved
version_added: 0.1.0
description:
  - Reads a folder that Clonezilla or FOG saved a disk in, or the disk file of a virtual machine, and captures it into an image
    store like a disk.
  - Disk files are read in place, through QEMU's storage daemon and FUSE; so is the one disk of an OVA, after it was compared with
    the manifest. Folders are unpacked to a sparse disk file first, with partclone, in O(work_folder).
  - A disk file that is compressed (gzip, zstd, xz, lzma, bzip2, lz4) is unpacked there too, whatever it holds; so are partclone's
    image of a whole disk, which FOG makes of type C(Raw Image), and a dynamic VHD that QEMU would cut.
  - A folder or disk file with a missing, truncated or damaged part is refused, with the name of the part. Nothing is written to
    the store before a folder was read to its end. Checksums that the folder holds are checked.
  - Of a folder only its own regular files are read. One with a link in the place of a file is refused; the folder itself may be
    reached through a link.
  - Runs where the store is, as root. It needs partclone, sfdisk and losetup, qemu-img and qemu-storage-daemon for disk files, and
    the Python libraries zstandard and lz4 for what is compressed with them.
notes:
  - Not read are folders and archives of several disks, of LVM by logical volume, of disks with sectors of 4096 bytes, encrypted
    ones, and what ntfsclone or partimage made.
  - A resizable image of FOG becomes what it was made of. Its filesystems fill their partitions again.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.image.destination]
options:
  version:
    description:
      - Version of the image. If the store has it already, nothing is done, for an image is never changed.
      - The default is the UTC time, such as V(20261121T093000Z), so that every run makes a new version.
  source:
    description: The folder, or the disk file.
    type: path
    required: true
  format:
    description: What made O(source). With V(auto), its content tells.
    type: str
    choices: [auto, clonezilla, fog, raw, qcow2, vmdk, vhdx, vdi, vhd, ova, compressed]
    default: auto
  description:
    description: What a person should know of this version. The default says where it came from.
    type: str
    default: ""
  compression_level:
    description: How hard zstd compresses.
    type: int
    default: 3
  work_folder:
    description:
      - Where a folder or compressed file is unpacked to, and removed afterwards. It takes as much space as the filesystems use.
    type: path
    default: /var/tmp
  progress_file:
    description: Where to write how far it is, as JSON. Nothing is written if its folder is missing.
    type: path
    default: /run/reimage/progress.json
"""

EXAMPLES = r"""
- name: Take over last year's Clonezilla image
  reimage.lab.image_import:
    store: /srv/reimage/store
    name: classroom-windows
    version: "2025"
    source: /home/partimag/win11-2025-08-20-img

- name: Make a virtual machine's disk an image for the lab's PCs
  reimage.lab.image_import:
    store: /srv/reimage/store
    name: classroom-linux
    source: /var/lib/libvirt/images/master.qcow2
"""

RETURN = r"""
image:
  description: The image, as NAME/VERSION.
  returned: success
  type: str
  sample: classroom-windows/2025
format:
  description: The format of the source.
  returned: success
  type: str
  sample: clonezilla
bytes_used:
  description: Bytes of the disk that are used, and so part of the image.
  returned: when not in check mode
  type: int
bytes_stored:
  description: Bytes that the image takes in the store, those that it shares with other images included.
  returned: when not in check mode
  type: int
chunks_total:
  description: Chunks of the image.
  returned: when not in check mode
  type: int
chunks_new:
  description: Chunks that the store did not have yet.
  returned: when not in check mode
  type: int
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import claimed
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.sniffing import RAW
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.transfer import (
    IMPORT_FORMATS,
    check_source,
    import_image,
)
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import file_writer
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import check_name
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_folder


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    store = open_folder(options["store"])
    name, version, source = check_name("image name", options["name"]), options["version"], Path(options["source"])
    if version and version in store.versions(name):
        return {"changed": False, "format": options["format"], "chunks_new": 0, **facts(read_index(store, name, version)[0])}
    store.refuse_version(name, version)
    kind = check_source(source, options["format"])
    with claimed(str(source), write=False) if kind == RAW else nullcontext():
        if module.check_mode:
            return {"changed": True, "image": f"{name}/{version}", "format": kind}
        captured = import_image(
            store,
            name,
            version,
            source,
            kind,
            level=options["compression_level"],
            description=options["description"],
            work_folder=options["work_folder"],
            callback=file_writer(options["progress_file"]),
        )
    return {"changed": True, "format": kind, "chunks_new": captured.chunks_new, **facts(captured.index)}


def facts(index: Index) -> dict[str, Any]:
    return {"image": index.image, **{key: getattr(index, key) for key in ("bytes_used", "bytes_stored", "chunks_total")}}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "store": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "default": ""},
            "source": {"type": "path", "required": True},
            "format": {"type": "str", "choices": list(IMPORT_FORMATS), "default": "auto"},
            "description": {"type": "str", "default": ""},
            "compression_level": {"type": "int", "default": 3},
            "work_folder": {"type": "path", "default": "/var/tmp"},  # noqa: S108  a folder of its own is made in it
            "progress_file": {"type": "path", "default": "/run/reimage/progress.json"},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
