#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_verify
short_description: Say whether a disk holds exactly an image, or whether a store is whole
version_added: 0.1.0
description:
  - With O(disk), compares a disk with an image, past the page cache, and says where it differs. Nothing is written. To mend it,
    use M(reimage.lab.image_deploy), or the playbook C(reimage.lab.repair).
  - A disk that holds the image must also be what other software takes it for, as M(reimage.lab.image_deploy) says.
  - Without O(disk), reads all chunks of the images of a store, and says which are damaged and which images they hurt. To mend
    them, delete the files that RV(damaged) names, and capture the master again as a new version, which stores what is missing
    for all images; then run this again.
  - A machine that was given its own identity differs from its image in the few chunks that hold it.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.store_access]
options:
  store:
    description: The image store, a folder or a URL (HTTP(S), or C(s3+https://SERVER/BUCKET/FOLDER)).
    type: str
    required: true
  name:
    description: Name of the image. Without it, and without O(disk), all images of the store are read.
    type: str
    default: ""
  version:
    description: Version of the image; with O(disk) or O(digest) the default is V(latest), without them all versions.
    type: str
    default: ""
  digest:
    description: SHA-256 of the image's index, where it is known from a trusted place.
    type: str
    default: ""
  disk:
    description:
      - The disk, as a path to a device or to a raw disk file, or as a mapping of C(serial), C(wwn), C(model), C(size_min) and
        C(size_max) (bytes) that matches exactly one disk.
    type: raw
  grow:
    description: As it was for M(reimage.lab.image_deploy).
    type: str
    default: auto
  preserve:
    description: As it was for M(reimage.lab.image_deploy).
    type: list
    elements: str
    default: []
  progress_file:
    description: Where to write how far it is, as JSON, for the machine's screen. Nothing is written if its folder is missing.
    type: path
    default: /run/reimage/progress.json
"""

EXAMPLES = r"""
- name: Does the only disk hold the image?
  reimage.lab.image_verify:
    store: http://imaging.example.org/store
    name: classroom-linux
    disk:
      size_min: 1
  register: disk
  failed_when: not disk.intact

- name: Is the whole store sound?
  reimage.lab.image_verify:
    store: /srv/reimage/store
  register: store
  failed_when: not store.intact
"""

RETURN = r"""
intact:
  description: Whether the disk holds exactly the image, or the images of the store are whole.
  returned: success
  type: bool
images:
  description: The images that were looked at, as NAME/VERSION.
  returned: success
  type: list
  elements: str
chunks_total:
  description: Number of chunks that were looked at.
  returned: success
  type: int
differing:
  description: Where the disk differs, at most the first 100 places.
  returned: with O(disk)
  type: list
  elements: dict
  contains:
    partition:
      description: Number of the partition.
      type: int
    chunk:
      description: Number of the chunk, a MiB of the partition.
      type: int
    offset:
      description: Where it begins on the disk, in bytes.
      type: int
chunks_differing:
  description: Number of chunks that differ.
  returned: with O(disk)
  type: int
table_differs:
  description: Whether the partition table differs.
  returned: with O(disk)
  type: bool
signatures:
  description:
    - Signatures of other software in free space, such as that of a RAID of an earlier life of the disk, at most the first 100.
  returned: with O(disk)
  type: list
  elements: dict
  contains:
    partition:
      description: Number of the partition, 0 outside of them.
      type: int
    offset:
      description: Where it begins on the disk, in bytes.
      type: int
    name:
      description: Name of the filesystem, RAID or table, as C(blkid) has it.
      type: str
      sample: linux_raid_member
complaints:
  description: What C(blkid) has against a disk on which nothing differs.
  returned: with O(disk)
  type: list
  elements: str
damaged:
  description: Chunks of the store that are damaged or missing, with the file and the reason.
  returned: without O(disk)
  type: dict
hurt:
  description: Images that cannot be deployed for it, with the reason.
  returned: without O(disk)
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.disk.lock import locked
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import find_disk
from ansible_collections.reimage.lab.plugins.module_utils.imaging.deploy import deploy
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Callback, file_writer
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.access import Access
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import is_folder, open_folder, open_store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources
from ansible_collections.reimage.lab.plugins.module_utils.imaging.verify import Report, verify_image, verify_store
from ansible_collections.reimage.lab.plugins.module_utils.options import argument_spec, read

MOST = 100


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    callback = file_writer(options["progress_file"])
    if not options["name"] and (options["version"] or options["digest"]):
        raise ImagingError("version and digest are of one image: say its name too")
    if options["disk"] is None:
        report = verify(options, callback)
        return {
            "changed": False,
            "intact": not report.hurt,
            "images": report.images,
            "chunks_total": report.chunks_total,
            "damaged": report.damaged,
            "hurt": report.hurt,
        }
    sources = Sources([open_store(options["store"], read(Access, options))])
    version = options["version"] or "latest"
    index = sources.first(lambda store: read_index(store, options["name"], version, options["digest"])[0])
    disk = find_disk(options["disk"])
    with locked(disk, exclusive=False):
        result = deploy(sources, index, disk, dry_run=True, grow=options["grow"], preserve=options["preserve"], callback=callback)
    return {
        "changed": False,
        "intact": not (result.changed or result.complaints),
        "images": [index.image],
        "chunks_total": index.chunks_total,
        "chunks_differing": result.chunks_changed,
        "differing": [
            {"partition": number, "chunk": chunk, "offset": offset} for number, chunk, offset in sorted(result.differing)[:MOST]
        ],
        "table_differs": result.table_differs,
        "signatures": [one._asdict() for one in result.leftovers[:MOST]],
        "complaints": result.complaints,
    }


def verify(options: dict[str, Any], callback: Callback | None) -> Report:
    where, name, digest = options["store"], options["name"], options["digest"]
    if not is_folder(where):
        return verify_image(open_store(where, read(Access, options)), name, options["version"], digest, callback)
    return verify_store(open_folder(where), name, options["version"] or ("latest" if digest else ""), digest, callback)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argument_spec(Access),
            "store": {"type": "str", "required": True},
            "name": {"type": "str", "default": ""},
            "version": {"type": "str", "default": ""},
            "digest": {"type": "str", "default": ""},
            "disk": {"type": "raw"},
            "grow": {"type": "str", "default": "auto"},
            "preserve": {"type": "list", "elements": "str", "default": []},
            "progress_file": {"type": "path", "default": "/run/reimage/progress.json"},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
