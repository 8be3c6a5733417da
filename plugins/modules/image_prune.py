#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_prune
short_description: Remove versions of images, and the chunks that nobody needs any more
version_added: 0.1.0
description:
  - Removes versions of images from a store, and all chunks that no image needs.
  - It may run while others capture and deploy. What a deploy may still be reading, and what a capture may have found, stays for
    O(grace) seconds; a later run removes it, and what interrupted captures have left.
  - An image that is damaged does not stop the work on others, and a warning names it. While nobody knows which chunks it needs,
    because its description is damaged or lost, versions are removed, and no chunk is.
  - In check mode nothing is removed, and the result says what would be.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes]
options:
  store:
    description: The image store, a folder.
    type: path
    required: true
  name:
    description: Name of the image. Required with O(versions). Without it, O(keep) is about every image.
    type: str
    default: ""
  versions:
    description: Versions to remove.
    type: list
    elements: str
    default: []
  keep:
    description:
      - How many of the newest versions to keep, by when the store got them and not counting O(versions); V(0) keeps all. The
        version that is called V(latest) stays too. A damaged one does not count, and stays until O(versions) names it.
    type: int
    default: 0
  grace:
    description:
      - Seconds for which chunks stay that others may still need, by the clock of the store. It must be longer than any capture or
        deploy takes.
    type: int
    default: 86400
"""

EXAMPLES = r"""
- name: Keep the newest three versions of every image
  reimage.lab.image_prune:
    store: /srv/reimage/store
    keep: 3

- name: Remove a version that nobody should get any more
  reimage.lab.image_prune:
    store: /srv/reimage/store
    name: classroom-windows
    versions: ["2026-08"]
"""

RETURN = r"""
versions:
  description: The versions that were removed, as NAME/VERSION.
  returned: success
  type: list
  elements: str
chunks:
  description: Number of chunks that were removed.
  returned: success
  type: int
bytes_freed:
  description: Bytes that they took.
  returned: success
  type: int
leftovers:
  description: Number of files and folders that were removed, of earlier removals and interrupted captures.
  returned: success
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_folder
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.prune import prune


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    if options["versions"] and not options["name"]:
        module.fail_json(msg="versions: name the image that they are of, with name")
    result = prune(
        open_folder(options["store"]),
        options["name"],
        options["versions"],
        options["keep"],
        options["grace"],
        dry_run=module.check_mode,
    )
    for warning in result.warnings:
        module.warn(warning)
    return {
        "changed": bool(result.versions or result.chunks or result.leftovers),
        "versions": result.versions,
        "chunks": result.chunks,
        "bytes_freed": result.bytes_freed,
        "leftovers": result.leftovers,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "store": {"type": "path", "required": True},
            "name": {"type": "str", "default": ""},
            "versions": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "int", "default": 0},
            "grace": {"type": "int", "default": 86400},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
