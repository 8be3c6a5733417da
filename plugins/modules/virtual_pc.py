#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: virtual_pc
short_description: Switch a PC of the virtual lab on or off, and look at its screen
version_added: 0.1.0
description:
  - The power button, the reset button and the screen of a PC that the role P(reimage.lab.virtual_lab#role) made.
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes]
attributes:
  idempotent:
    support: partial
    details: V(reset) resets every time.
options:
  root:
    description: The folder of the lab.
    type: path
    required: true
  name:
    description: Name of the PC.
    type: str
    required: true
  state:
    description:
      - V(running) switches it on, V(stopped) cuts its power, V(reset) presses reset, or switches it on.
      - By default nothing is done, for a screenshot.
    type: str
    choices: [running, stopped, reset]
  screenshot:
    description: A file to write what the screen shows to, as PNG.
    type: path
"""

EXAMPLES = r"""
- name: Switch a PC on
  reimage.lab.virtual_pc:
    root: var/lab
    name: pc-01
    state: running

- name: Look at its screen
  reimage.lab.virtual_pc:
    root: var/lab
    name: pc-01
    screenshot: /tmp/pc-01.png
"""

RETURN = r"""
running:
  description: Whether it is switched on now.
  returned: success
  type: bool
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.lab.pc import Pc


def work(module: AnsibleModule) -> dict[str, Any]:
    options = module.params
    pc = Pc(Path(options["root"]).resolve(), options["name"])
    running = pc.running
    action = {
        ("running", False): pc.start,
        ("stopped", True): pc.stop,
        ("reset", False): pc.start,
        ("reset", True): pc.reset,
    }.get((options["state"], running))
    if action is not None and not module.check_mode:
        action()
    if options["screenshot"] and not module.check_mode:
        pc.screenshot(Path(options["screenshot"]).resolve())
    return {"changed": action is not None, "running": pc.running}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["running", "stopped", "reset"]},
            "screenshot": {"type": "path"},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
