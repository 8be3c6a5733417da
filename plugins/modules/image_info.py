#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Describe the images of a store
version_added: 0.1.0
description:
  - Lists images and their versions, in the order in which the store got them. Nothing is changed.
  - A damaged version is left out with a warning, and fails the module only if it is the one that O(name) and O(version) name.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.store_access]
options:
  store:
    description:
      - The image store, a folder or a URL (HTTP(S), or C(s3+https://SERVER/BUCKET/FOLDER)). A URL needs O(name), because only a
        folder lists its images.
    type: str
    required: true
  name:
    description: Name of an image. By default all images.
    type: str
    default: ""
  version:
    description: Version of the image, V(latest), or all versions by default. A URL without one gives the latest.
    type: str
    default: ""
  sizes:
    description:
      - Also say what each image shares with the others, for which the chunk tables of all of them are read. One that cannot be
        read is not counted, and a warning names it.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Find the newest version
  reimage.lab.image_info:
    store: /srv/reimage/store
    name: classroom-linux
    version: latest
  register: found
"""

RETURN = r"""
images:
  description: The images that match.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the image.
      type: str
    version:
      description: Version of the image.
      type: str
    digest:
      description: SHA-256 of its index, from which everything in the image can be verified.
      type: str
    created:
      description: When it was captured, in UTC.
      type: str
    description:
      description: What the person who captured it had to say.
      type: str
    disk_size:
      description: Size of the master's disk, in bytes.
      type: int
    disk_size_min:
      description: Size that a disk must have at least, in bytes, without shrinking a partition.
      type: int
    bytes_used:
      description: Bytes that a deploy writes to an empty disk.
      type: int
    bytes_stored:
      description: Bytes that the image takes in the store, those that it shares with others included.
      type: int
    bytes_shared:
      description: Bytes of these that other images need too. Only with O(sizes), and from a folder.
      type: int
    bytes_own:
      description: Bytes of these that nobody else needs. Only with O(sizes), and from a folder.
      type: int
    chunks_total:
      description: Number of chunks.
      type: int
    partitions:
      description: Number, filesystem, label, and size in bytes of each partition.
      type: list
      elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.imaging.info import describe, describe_one
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.access import Access
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import is_folder, open_folder, open_store
from ansible_collections.reimage.lab.plugins.module_utils.options import argument_spec, read


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    where, name, version = options["store"], options["name"], options["version"]
    if is_folder(where):
        described = describe(open_folder(where), name, version, sizes=options["sizes"])
    else:
        described = describe_one(open_store(where, read(Access, options)), name, version)
    for warning in described.warnings:
        module.warn(warning)
    return {"changed": False, "images": described.images}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **argument_spec(Access),
            "store": {"type": "str", "required": True},
            "name": {"type": "str", "default": ""},
            "version": {"type": "str", "default": ""},
            "sizes": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
