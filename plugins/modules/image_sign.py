#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_sign
short_description: Sign an image, so that machines take it from nobody else
version_added: 0.1.0
description:
  - Signs the index of an image with an SSH key. All that the image consists of follows from its index.
  - M(reimage.lab.image_deploy) requires a signature where its option O(reimage.lab.image_deploy#module:allowed_signers) is set.
  - Run it where the private key is. The key never goes to the store, nor to a machine that captures or deploys.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.image.source]
options:
  store:
    description: The image store, a folder.
    type: path
  key:
    description: File of an SSH private key without a passphrase.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Sign what was just captured
  reimage.lab.image_sign:
    store: /srv/reimage/store
    name: classroom-linux
    key: /root/.ssh/images
"""

RETURN = r"""
image:
  description: The image, as NAME/VERSION.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_folder
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.signature import sign


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    store = open_folder(options["store"])
    index = read_index(store, options["name"], options["version"])[0]
    return {
        "changed": sign(store, index.name, index.version, options["key"], dry_run=module.check_mode),
        "image": index.image,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "store": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "default": "latest"},
            "key": {"type": "path", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
