#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_state
short_description: Record or read how far a machine has come, and who works on it
description:
  - Keeps one JSON record a machine on the boot server. A second run reads it to attach or resume, and the status page
    shows it, except that a machine is armed.
  - Keeps one lease a machine beside it, so that no two runs work on one machine. One call takes or renews the lease and records
    the state; where another run has the machine it does neither, and fails.
  - Fails where two have checked in as this machine, so that a run ends before it gives more to either of them. V(armed) and
    V(failed) can be recorded nevertheless.
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.boot]
attributes:
  diff_mode:
    support: full
    description: Shows the record. The lease is not part of it, and does not count as a change.
options:
  state:
    description:
      - The state that the machine is in now. Without it the record is only read, and O(name), O(image) and O(note) are not used.
      - V(armed) begins a new run, so it empties the history. Setting the last state again with the same O(note) changes
        nothing.
      - A state that cannot follow the recorded one, such as V(verified) after V(armed), is refused.
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
      - capturing
      - captured
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
  secure_boot:
    description: What RV(reimage.lab.secure_boot_info#module:secure_boot) said of the machine, recorded together with O(state).
    type: dict
  lease:
    description:
      - Take or renew the lease of the machine, and fail where another run has it. Without this option a state is recorded only
        while nobody has the machine.
      - A lease is over O(lease.seconds) after it was taken or renewed, or after the machine last reported progress, whichever
        comes later, by the boot server's clock.
      - Where a run ended without giving it back, for it was killed, a run on the same controller with the same O(lease.purpose)
        gets it at once.
    type: dict
    suboptions:
      purpose:
        description: The work that the run does, as a verb and its object, such as V(reimage classroom-linux/20261121T010000Z).
        type: str
        default: ''
      seconds:
        description: How long the lease lasts unless it is renewed, at most a day.
        type: float
        default: 300
      release:
        description: Give the lease back when the state is recorded.
        type: bool
        default: false
      run:
        description: The id of the run. Ansible fills in that of its own process on the controller.
        type: str
      holder:
        description: Who that is, for people. Ansible fills this in.
        type: str
        default: ''
      ended:
        description: The id of a run that is known to have ended. Ansible fills in that of one that was killed on this controller.
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

- name: Work on pc-01, and on nobody else's
  reimage.lab.machine_state:
    mac: 52:54:00:77:01:01
    state: preflight
    lease:
      purpose: reimage classroom-linux/20261121T010000Z
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
    secure_boot:
      description: What O(secure_boot) said the last time, with C(enabled), C(db), C(kek), C(dbx) and C(warnings).
      returned: when it was recorded
      type: dict
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
lease:
  description: The lease of the run that has the machine now; null if nobody has it.
  returned: success
  type: dict
  contains:
    mac:
      description: The machine's MAC address.
      type: str
    run:
      description: The id of the run.
      type: str
    holder:
      description: Who that is, for people.
      type: str
    purpose:
      description: The work that it does.
      type: str
    seconds:
      description: How long the lease lasts from each time that it is renewed.
      type: float
    taken_at:
      description: When it was taken or renewed last, in seconds since the epoch by the boot server's clock.
      type: float
    expires_at:
      description: When it is over, unless it is renewed or the machine reports progress.
      type: float
held:
  description: The lease of the other run that has the machine, like RV(lease).
  returned: when the machine is refused because of it
  type: dict
"""

import json
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import refuse_contested
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.fleet.lease import (
    SECONDS,
    Claim,
    HeldError,
    give_back,
    held,
    locked,
    refuse_if_held,
    take,
)
from ansible_collections.reimage.lab.plugins.module_utils.fleet.states import (
    STATES,
    advance,
    load_record,
    save_record,
    with_secure_boot,
)
from ansible_collections.reimage.lab.plugins.module_utils.mac import parse_mac


def work(module: AnsibleModule) -> dict[str, Any]:
    layout, mac = Layout(Path(module.params["root"])), parse_mac(module.params["mac"])
    if not module.params["state"] and not module.params["lease"]:
        lease = held(layout, mac)
        return {"changed": False, "machine": load_record(layout, mac), "lease": lease and asdict(lease)}
    with nullcontext() if module.check_mode else locked(layout, mac):
        try:
            return record(module, layout, mac)
        except HeldError as error:
            module.fail_json(msg=str(error), held=asdict(error.lease))


def record(module: AnsibleModule, layout: Layout, mac: str) -> dict[str, Any]:
    """Take the lease, record the state, and give the lease back, each as far as it is asked for."""
    options, wanted = module.params, module.params["lease"]
    lease = None
    if wanted:
        claim = Claim(**{name: value for name, value in wanted.items() if name != "release"})
        lease = take(layout, mac, claim, dry_run=module.check_mode)
    else:
        refuse_if_held(layout, mac)
    if options["state"] not in (None, "armed", "failed"):
        refuse_contested(layout, mac)
    before = after = load_record(layout, mac)
    if options["state"]:
        after = advance(before, options["state"], name=options["name"], image=options["image"], note=options["note"])
        if options["secure_boot"]:
            after = with_secure_boot(after, options["secure_boot"])
    changed = after != before
    if changed and not module.check_mode:
        save_record(layout, after)
    if lease and wanted["release"]:
        if not module.check_mode:
            give_back(layout, mac)
        lease = None
    shown = {"before": _shown(before), "after": _shown(after)}
    return {"changed": changed, "machine": after, "lease": lease and asdict(lease), "diff": shown}


def _shown(record: dict[str, Any]) -> str:
    return json.dumps(record, indent=1) + "\n"


def main() -> None:
    lease = {
        "purpose": {"type": "str", "default": ""},
        "seconds": {"type": "float", "default": SECONDS},
        "release": {"type": "bool", "default": False},
        "run": {"type": "str"},
        "holder": {"type": "str", "default": ""},
        "ended": {"type": "str", "default": ""},
    }
    module = AnsibleModule(
        argument_spec={
            "mac": {"type": "str", "required": True},
            "state": {"type": "str", "choices": list(STATES)},
            "name": {"type": "str"},
            "image": {"type": "str"},
            "note": {"type": "str", "default": ""},
            "secure_boot": {"type": "dict"},
            "lease": {"type": "dict", "options": lease},
            "root": {"type": "path", "default": "/srv/reimage/boot"},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
