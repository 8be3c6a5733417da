# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_info
short_description: Read what the boot server knows of a machine
description:
  - Returns how far a machine has come, which run works on it, and, while it is armed, whether it is in automation.
  - Whoever only waits for a check-in uses M(reimage.lab.wait_for_checkin).
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.boot]
"""

EXAMPLES = r"""
- name: Ask where pc-01 is
  reimage.lab.machine_info:
    mac: 52:54:00:77:01:01
  delegate_to: imaging-server
  register: pc
"""

RETURN = r"""
machine:
  description: Its record, like RV(reimage.lab.machine_state#module:machine).
  returned: success
  type: dict
lease:
  description: The lease of the run that has it now, like RV(reimage.lab.machine_state#module:lease); null if nobody has it.
  returned: success
  type: dict
armed_at:
  description:
    - When it was armed, in seconds since the epoch by the boot server's clock; null if it is not, or if its check-in cannot be
      used, so that it is to be armed anew.
  returned: success
  type: float
now:
  description: The boot server's clock, in seconds since the epoch.
  returned: success
  type: float
checkin:
  description:
    - Its check-in, like RV(reimage.lab.checkin_info#module:checkin); null if there is none that can be used.
  returned: success
  type: dict
in_automation:
  description: Whether at the address of its check-in somebody answers with a host key of its check-in.
  returned: success
  type: bool
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.boot.addresses import controller
from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import load_checkin
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import Arming, load_arming
from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.fleet.lease import held
from ansible_collections.reimage.lab.plugins.module_utils.fleet.states import load_record
from ansible_collections.reimage.lab.plugins.module_utils.mac import parse_mac


def work(module: AnsibleModule) -> dict[str, Any]:
    layout, mac = Layout(Path(module.params["root"])), parse_mac(module.params["mac"])
    lease = held(layout, mac)
    arming, checkin = usable(layout, mac)
    return {
        "changed": False,
        "machine": load_record(layout, mac),
        "lease": lease and asdict(lease),
        "armed_at": arming and arming.armed_at,
        "now": round(time.time(), 3),
        "checkin": checkin,
        "in_automation": checkin is not None and answers(checkin),
    }


def usable(layout: Layout, mac: str) -> tuple[Arming | None, dict[str, Any] | None]:
    """Return what a machine is armed for, and its check-in; neither where it is to be armed anew, for they are wrong."""
    try:
        arming = load_arming(layout, mac)
        checkin = load_checkin(layout, arming) if arming else None
    except BootError:
        return None, None
    if checkin is not None and checkin["address"] == controller():
        return None, None
    return arming, checkin


def answers(checkin: dict[str, Any]) -> bool:
    """Whether who answers where a check-in came from has its host key: production may have the same address."""
    try:
        said = run(["ssh-keyscan", "-T", "5", "-t", "ed25519", checkin["address"]]).stdout.decode(errors="replace")
    except CommandError:
        return False
    return any(key in said for key in checkin["host_keys"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={"mac": {"type": "str", "required": True}, "root": {"type": "path", "default": "/srv/reimage/boot"}},
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
