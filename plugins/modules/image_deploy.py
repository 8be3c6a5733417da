#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_deploy
short_description: Make a disk hold an image
version_added: 0.1.0
description:
  - Compares the disk with the image, and fetches and writes only the chunks that differ. Free space is neither compared nor
    written, but for signatures that other software would find in it, such as that of a RAID of an earlier life of the disk, which
    are removed. A disk that holds the image already is not changed.
  - Every chunk is checked when it arrives, and what was written is read back past the page cache.
  - A disk that is written to has no partition table until all of it is verified, so that half an image never boots. Run it
    again after an interruption; what was written already is not fetched again.
  - Verified means that other software accepts it too. C(blkid) must find the type, UUID and label of each filesystem that the
    master had, C(sgdisk) or C(sfdisk) no fault in the table that the master's does not have, and the filesystem's own tool, where
    it is installed, that it is clean.
  - Refuses a disk that is in use, too small, or not the only one that matches, before anything is written.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment:
  - reimage.lab.attributes
  - reimage.lab.image.source
  - reimage.lab.imaging
  - reimage.lab.store_access
options:
  digest:
    description:
      - SHA-256 of the image's index, as M(reimage.lab.image_info) returns it where the store can be trusted. Everything else
        follows from it, whatever carried the chunks.
      - Without it the store is believed.
    type: str
    default: ""
  verify:
    description: Whether to read back what was written.
    type: str
    choices: [readback, none]
    default: readback
  mirrors:
    description: Other stores, from which is fetched what is damaged or missing in O(store), or all if that does not answer.
    type: list
    elements: str
    default: []
  allowed_signers:
    description:
      - Who must have signed the image, as the text of an C(allowed_signers) file of C(ssh-keygen), such as
        V(images@example.org ssh-ed25519 AAAA...). See M(reimage.lab.image_sign).
      - Without it no signature is asked for.
    type: str
    default: ""
  grow:
    description:
      - The partition that takes what the disk has more than the master's, and its filesystem with it (ext2, ext3, ext4, NTFS,
        XFS, Btrfs); what lies behind it, such as a recovery partition, moves to the end. On a smaller disk it is the one that is
        shrunk (ext2, ext3, ext4, NTFS).
      - V(auto) is the last big one that holds data, V(none) none; or a number, a label or a name. Where the last big one cannot
        grow, such as LVM or LUKS, nothing does, and a warning says so.
    type: str
    default: auto
  preserve:
    description:
      - Partitions of the disk that stay untouched, by number, label, name or type, such as V(DATA) or V(home). Each must match
        exactly one partition. One under whose number the image has another one gets a new number, and so cannot be named by its
        number.
    type: list
    elements: str
    default: []
  discard:
    description: Tell the disk which of its blocks are free, if anything was written.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Write the newest version to the only disk
  reimage.lab.image_deploy:
    store: http://imaging.example.org/store
    name: classroom-linux
    disk:
      size_min: 1

- name: Write one version to the disk with this serial number
  reimage.lab.image_deploy:
    store: /mnt/store
    name: classroom-windows
    version: "2026-09"
    disk:
      serial: S4EWNX0R123456
"""

RETURN = r"""
image:
  description: The image that the disk holds, as NAME/VERSION.
  returned: success
  type: str
  sample: classroom-linux/20261121T093000Z
disk:
  description: The disk.
  returned: success
  type: str
  sample: /dev/nvme0n1
bytes_used:
  description: Bytes of the image.
  returned: success
  type: int
bytes_fetched:
  description: Compressed bytes that came from the store.
  returned: success
  type: int
bytes_written:
  description: Bytes that were written to the disk.
  returned: success
  type: int
chunks_total:
  description: Chunks of the image.
  returned: success
  type: int
chunks_changed:
  description: Chunks that differed on the disk.
  returned: success
  type: int
resized:
  description: Numbers of the partitions that were grown or shrunk.
  returned: success
  type: list
  elements: int
signatures_removed:
  description: Signatures of other software that were in free space, and are gone; in check mode, those that would be removed.
  returned: success
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
seconds:
  description: How long it took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import claimed
from ansible_collections.reimage.lab.plugins.module_utils.imaging.deploy import deploy
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import file_writer
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.access import Access
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.signature import check
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources
from ansible_collections.reimage.lab.plugins.module_utils.options import argument_spec, read


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    sources = Sources([open_store(where, read(Access, options)) for where in (options["store"], *options["mirrors"])])
    index, digest = sources.first(lambda store: read_index(store, options["name"], options["version"], options["digest"]))
    if options["allowed_signers"]:
        sources.first(lambda store: check(store, index.name, index.version, digest, options["allowed_signers"]))
    with claimed(options["disk"], write=not module.check_mode) as disk:
        result = deploy(
            sources,
            index,
            disk,
            verify=options["verify"] == "readback",
            dry_run=module.check_mode,
            grow=options["grow"],
            preserve=options["preserve"],
            discard=options["discard"],
            callback=file_writer(options["progress_file"]),
        )
    for warning in [*result.warnings, *result.complaints]:
        module.warn(warning)
    return {
        "changed": result.changed,
        "image": index.image,
        "disk": disk,
        "bytes_used": index.bytes_used,
        "bytes_fetched": result.bytes_fetched,
        "bytes_written": result.bytes_written,
        "chunks_total": index.chunks_total,
        "chunks_changed": result.chunks_changed,
        "resized": result.resized,
        "signatures_removed": [one._asdict() for one in result.leftovers],
        "seconds": round(result.seconds, 3),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argument_spec(Access),
            "store": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "default": "latest"},
            "digest": {"type": "str", "default": ""},
            "disk": {"type": "raw", "required": True},
            "verify": {"type": "str", "choices": ["readback", "none"], "default": "readback"},
            "mirrors": {"type": "list", "elements": "str", "default": []},
            "allowed_signers": {"type": "str", "default": ""},
            "grow": {"type": "str", "default": "auto"},
            "preserve": {"type": "list", "elements": "str", "default": []},
            "discard": {"type": "bool", "default": False},
            "progress_file": {"type": "path", "default": "/run/reimage/progress.json"},
            "timeout": {"type": "int", "default": 14400},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
