#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_capture
short_description: Capture a disk into an image store
version_added: 0.1.0
description:
  - Reads the used blocks of every partition of a disk once, and stores them as compressed, content-addressed chunks, straight
    into the store. Chunks that the store has already are not stored again.
  - The disk is never written to.
  - Of a filesystem whose used blocks nobody can tell, all bytes are captured, with a warning. One that needs other disks, or is
    longer than its partition, is refused. C(docs/filesystems.md) has the table.
  - The image becomes visible all at once, when it is complete. A capture that was interrupted leaves only chunks, which the
    next one finds.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment:
  - reimage.lab.attributes
  - reimage.lab.imaging
  - reimage.lab.image.destination
attributes:
  idempotent:
    support: none
    details: Every run makes a new version. A version that exists is refused, for an image is never changed.
options:
  compression_level:
    description: How hard zstd compresses.
    type: int
    default: 3
  accept:
    description:
      - What to capture nevertheless, which is refused otherwise. A V(dirty) filesystem was not unmounted cleanly or waits for a
        check, a V(hibernated) one belongs to a system that is asleep. A Windows that is V(not_generalized) takes no new identity,
        and its copies disturb each other in a network.
      - BitLocker is always refused.
    type: list
    elements: str
    choices: [dirty, hibernated, not_generalized]
    default: []
  description:
    description: What a person should know of this version.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Capture the only disk of a master
  reimage.lab.image_capture:
    store: /mnt/store
    name: classroom-linux
    disk:
      size_min: 1
    description: Debian 12 with this term's software
"""

RETURN = r"""
image:
  description: The image that was captured, as NAME/VERSION.
  returned: success
  type: str
  sample: classroom-linux/20261121T093000Z
bytes_used:
  description: Bytes of the disk that are used, and so part of the image.
  returned: success
  type: int
bytes_stored:
  description: Bytes that the image takes in the store, those that it shares with other images included.
  returned: success
  type: int
chunks_total:
  description: Chunks of the image.
  returned: success
  type: int
chunks_new:
  description: Chunks that the store did not have yet.
  returned: success
  type: int
seconds:
  description: How long it took.
  returned: success
  type: float
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.hardware.disks import claimed
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.inspect import refuse_not_generalized
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import file_writer
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_folder


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    store = open_folder(options["store"])
    with claimed(options["disk"], write=False) as disk:
        if "not_generalized" not in options["accept"]:
            refuse_not_generalized(disk)
        captured = capture(
            store,
            disk,
            options["name"],
            options["version"],
            level=options["compression_level"],
            description=options["description"],
            accept=options["accept"],
            dry_run=module.check_mode,
            callback=file_writer(options["progress_file"]),
        )
    for warning in captured.warnings:
        module.warn(warning)
    index = captured.index
    return {
        "changed": True,
        "image": index.image,
        "bytes_used": index.bytes_used,
        "bytes_stored": index.bytes_stored,
        "chunks_total": index.chunks_total,
        "chunks_new": captured.chunks_new,
        "seconds": round(captured.seconds, 3),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "store": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "default": ""},
            "disk": {"type": "raw", "required": True},
            "compression_level": {"type": "int", "default": 3},
            "description": {"type": "str", "default": ""},
            "accept": {"type": "list", "elements": "str", "choices": ["dirty", "hibernated", "not_generalized"], "default": []},
            "progress_file": {"type": "path", "default": "/run/reimage/progress.json"},
            "timeout": {"type": "int", "default": 14400},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
