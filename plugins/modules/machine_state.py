#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_state
short_description: Record or read how far a machine has come
description:
  - Keeps one JSON record a machine on the boot server. A second run reads it to attach or resume, and the status page
    shows it.
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.boot]
attributes:
  diff_mode:
    support: full
options:
  state:
    description:
      - The state that the machine is in now. Without it the record is only read, and the other options are not used.
      - V(armed) begins a new run, so it empties the history. Setting the last state again with the same O(note) changes
        nothing.
    type: str
    choices:
      - registered
      - armed
      - booted
      - preflight
      - writing
      - verified
      - identified
      - released
      - first_boot
      - reachable
      - done
      - failed
  name:
    description: The machine's name. Without it the recorded one stays.
    type: str
  image:
    description: The image that the machine has or gets. Without it the recorded one stays.
    type: str
  note:
    description:
      - What a person should know of this state; with V(failed), the reason. At most 2000 characters are kept.
      - Everybody who can open the status page can read it.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Record that pc-01 is being written
  reimage.lab.machine_state:
    mac: 52:54:00:77:01:01
    name: pc-01
    state: writing
    image: classroom-linux 20261121T010000Z
  delegate_to: imaging-server

- name: Ask how far pc-01 has come
  reimage.lab.machine_state:
    mac: 52:54:00:77:01:01
  delegate_to: imaging-server
  register: pc
"""

RETURN = r"""
machine:
  description: The record; C(registered) with no history for a machine that was never recorded.
  returned: success
  type: dict
  contains:
    mac:
      description: The machine's MAC address.
      type: str
    name:
      description: The machine's name.
      type: str
    state:
      description: The state that it is in.
      type: str
    image:
      description: The image that it has or gets.
      type: str
    reason:
      description: Why it failed, else empty.
      type: str
    history:
      description: The states of this run, oldest first, each with C(state), C(at) (seconds, UTC) and C(note).
      type: list
      elements: dict
  sample:
    mac: 52:54:00:77:01:01
    name: pc-01
    state: writing
    image: classroom-linux 20261121T010000Z
    reason: ''
    history:
      - {state: armed, at: 1795226400.125, note: ''}
      - {state: writing, at: 1795226432.5, note: ''}
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.fleet.states import STATES, advance, load_record, save_record
from ansible_collections.reimage.lab.plugins.module_utils.mac import parse_mac


def work(module: AnsibleModule) -> dict[str, Any]:
    layout = Layout(Path(module.params["root"]))
    options = module.params
    before = load_record(layout, parse_mac(options["mac"]))
    if options["state"] is None:
        return {"changed": False, "machine": before}
    after = advance(before, options["state"], name=options["name"], image=options["image"], note=options["note"])
    changed = after != before
    if changed and not module.check_mode:
        save_record(layout, after)
    return {"changed": changed, "machine": after, "diff": {"before": _shown(before), "after": _shown(after)}}


def _shown(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=1) + "\n"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "mac": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(STATES)},
            "name": {"type": "str"},
            "image": {"type": "str"},
            "note": {"type": "str", "default": ""},
            "root": {"type": "path", "default": "/srv/reimage/boot"},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
