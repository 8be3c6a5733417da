#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: boot_target
short_description: Set what a machine's next network boot gets
description:
  - Arms a machine, so that it boots a target such as C(automation) from the network, or disarms it, so that it gets no
    answer and starts its own disk. A machine that was never armed gets no answer.
  - Arming makes a token, the folder that the token opens for the machine's check-in, the machine's scripts for iPXE and GRUB, and
    last the file that has dnsmasq answer it. Disarming takes all of that away.
  - An arming with a token expires after the bound that the role P(reimage.lab.boot_server#role) sets, so that a machine
    whose run is gone starts its own disk again. Arming it again, a run that holds it, and its own progress put that off.
  - Runs on the boot server, which the roles P(reimage.lab.boot_server#role) and P(reimage.lab.proxy_dhcp#role) set up.
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.boot]
attributes:
  diff_mode:
    support: full
    details: [The machine's boot script, with its token masked.]
options:
  target:
    description:
      - V(local) disarms. V(automation), or another name that C(boot.json) has, arms.
      - A machine that is armed again with the same target keeps its token, and the arming lasts as long as a new one.
    type: str
    required: true
  other_macs:
    description: The MAC addresses of the machine's other network cards that may boot. The machine stays known by O(mac).
    type: list
    elements: str
    default: []
  renew:
    description: Make a new token though the machine is armed with this target already. What it checked in with the old
      one is forgotten, so that only a boot from now on counts.
    type: bool
    default: false
  reload:
    description: The command that has dnsmasq forget a disarmed machine. An empty list runs none.
    type: list
    elements: str
    default: [systemctl, reload-or-restart, dnsmasq]
notes:
  - The token lets its holder write the machine's check-in. Set C(no_log) on tasks that pass it on.
seealso:
  - module: reimage.lab.wait_for_checkin
"""

EXAMPLES = r"""
- name: Have pc-01 boot automation
  reimage.lab.boot_target:
    mac: 52:54:00:77:01:01
    target: automation
  delegate_to: imaging-server

- name: Have pc-01 start its own disk again
  reimage.lab.boot_target:
    mac: 52:54:00:77:01:01
    target: local
  delegate_to: imaging-server
"""

RETURN = r"""
token:
  description: The token of an armed machine. Not returned in check mode if one would be made.
  returned: when the machine is armed with a target that needs one
  type: str
  sample: 0f7b2cbb7f0d4b6c9b1f5a8d3e2c1b0a
armed_at:
  description: When the machine was armed, in seconds since the epoch by the boot server's clock.
  returned: when the machine is armed
  type: float
  sample: 1795226400.125
expires_at:
  description: When the arming expires if there is no sign of work on the machine, by the same clock.
  returned: when the machine is armed with a target that needs a token
  type: float
  sample: 1795233600.125
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import LOCAL
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import RELOAD, arm, disarm, reload
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.fleet.lease import locked
from ansible_collections.reimage.lab.plugins.module_utils.mac import parse_mac

RETURNED = ("token", "armed_at", "expires_at")


def work(module: AnsibleModule) -> dict[str, Any]:
    layout = Layout(Path(module.params["root"]))
    mac = parse_mac(module.params["mac"])
    target = module.params["target"]

    others = [parse_mac(other) for other in module.params["other_macs"]]
    # Otherwise what ends armings on this server might take away half of a new one.
    with nullcontext() if module.check_mode else locked(layout, mac):
        if target == LOCAL:
            change = disarm(layout, mac, lambda: reload(module.params["reload"]), dry_run=module.check_mode)
        else:
            change = arm(layout, mac, target, others, renew=module.params["renew"], dry_run=module.check_mode)
    result = {"changed": change.changed, "diff": {"before": change.before, "after": change.after}}
    result.update({name: getattr(change, name) for name in RETURNED if getattr(change, name) is not None})
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "mac": {"type": "str", "required": True},
            "target": {"type": "str", "required": True},
            "other_macs": {"type": "list", "elements": "str", "default": []},
            "renew": {"type": "bool", "default": False},
            "root": {"type": "path", "default": "/srv/reimage/boot"},
            "reload": {"type": "list", "elements": "str", "default": list(RELOAD)},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
