#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: checkin_info
short_description: Read a machine's check-in, and what the boot server saw of it since it was armed
description:
  - Returns what a machine in automation said of itself with its current token, validated field by field, once the boot server has
    accepted it. It accepts one check-in a token, from an address in a subnet that machines boot in, after the boot script of the
    machine was fetched.
  - Fails where the machine sent what cannot be used, and where a second one checked in differently with the same token.
  - M(reimage.lab.wait_for_checkin) asks this until the machine is there; use that one to wait.
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.boot]
options:
  wait:
    description: Seconds to wait for a check-in, or for the next sign of the machine, before returning without one.
    type: float
    default: 0
  known:
    description: How many files the machine is known to have fetched. More than that is a sign that ends O(wait).
    type: int
    default: 0
  hints:
    description: Also ask dnsmasq's journal for the last that it said of the machine.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Ask whether pc-01 has checked in
  reimage.lab.checkin_info:
    mac: 52:54:00:77:01:01
  delegate_to: imaging-server
  register: pc
"""

RETURN = r"""
checkin:
  description:
    - The check-in as docs/architecture.md describes it; null if none was accepted yet.
    - The boot server adds C(received_at), by its own clock; C(clock_off), by how many seconds the machine's
        clock is ahead; C(fetched_by), the addresses that fetched the machine's boot script;
      and C(challenge), a C(nonce) and the C(answer) that only who has the token can give, the SHA-256 of nonce and token.
  returned: success
  type: dict
target:
  description: The boot target that the machine is armed with.
  returned: success
  type: str
  sample: automation
armed_at:
  description: When the machine was armed, in seconds since the epoch by the boot server's clock.
  returned: success
  type: float
now:
  description: The boot server's clock, in seconds since the epoch.
  returned: success
  type: float
fetched:
  description: The boot files that the machine fetched since it was armed, each with C(file), C(at) and C(address).
  returned: success
  type: list
  elements: dict
refused:
  description: The last check-ins that were refused, each with C(at), C(sender), C(reason) and C(by_machine).
  returned: success
  type: list
  elements: dict
waiting:
  description: How many check-ins have arrived and are not looked at yet. They are within a second, where the boot server is well.
  returned: success
  type: int
dhcp:
  description: The last line that dnsmasq logged of the machine since it was armed; null if there is none.
  returned: with O(hints)
  type: str
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.boot.addresses import controller
from ansible_collections.reimage.lab.plugins.module_utils.boot.checkins import CheckinError
from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import load_configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import load_checkin, load_outcome
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import load_arming
from ansible_collections.reimage.lab.plugins.module_utils.boot.trail import dhcp_seen, requests_seen
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.mac import parse_mac


def work(module: AnsibleModule) -> dict[str, Any]:
    layout = Layout(Path(module.params["root"]))
    mac = parse_mac(module.params["mac"])
    configuration = load_configuration(layout)
    deadline = time.monotonic() + module.params["wait"]
    while True:
        arming = load_arming(layout, mac)
        if arming is None:
            raise BootError(f"{mac} is not armed, so it will not check in: set its boot target with boot_target first")
        checkin = load_checkin(layout, arming)
        fetched = requests_seen(layout, configuration, arming)
        if checkin or len(fetched) > module.params["known"] or time.monotonic() >= deadline:
            break
        time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))
    if checkin and checkin["address"] == controller():
        raise CheckinError(f"{checkin['address']}, which checked in as {mac}, is the address of the controller")
    result: dict[str, Any] = {"changed": False, "checkin": checkin, "target": arming.target, "armed_at": arming.armed_at}
    result.update(now=round(time.time(), 3), fetched=fetched, waiting=sum(1 for _path in layout.arrivals.glob("*.json")))
    result["refused"] = [asdict(refusal) for refusal in load_outcome(layout, arming).refused]
    if module.params["hints"]:
        result["dhcp"] = dhcp_seen(arming)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "mac": {"type": "str", "required": True},
            "wait": {"type": "float", "default": 0},
            "known": {"type": "int", "default": 0},
            "hints": {"type": "bool", "default": False},
            "root": {"type": "path", "default": "/srv/reimage/boot"},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
