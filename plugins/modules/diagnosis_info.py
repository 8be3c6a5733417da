#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis_info
short_description: Say where a machine's network boot stops, and what to do
description:
  - Follows one machine on the boot server, armed or not, from its first DHCP message to its check-in. It reads the logs of
    dnsmasq and nginx, and what became of check-ins, and can watch the network meanwhile.
  - Returns one sentence. docs/network.md explains each stage.
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.boot]
options:
  other_macs:
    description: The MAC addresses of the machine's other network cards that may boot.
    type: list
    elements: str
    default: []
  name:
    description: What to call the machine in the sentence; its MAC address if empty.
    type: str
    default: ''
  watch:
    description:
      - Seconds to watch the network, at most an hour. Start the machine meanwhile. It ends earlier once the machine has checked
        in.
      - With V(0) only the logs are read. They do not tell of other boot servers, nor of a machine that does not ask to boot.
      - At most 5000 packets are taken, and 600 bytes of each; they are not kept.
    type: float
    default: 0
  since:
    description: How many seconds of the logs count, if the machine is not armed, and was not seen while it was watched. For an
      armed one it is the time since then.
    type: float
    default: 900
requirements:
  - tcpdump, with O(watch)
"""

EXAMPLES = r"""
- name: Say why pc-01 does not come
  reimage.lab.diagnosis_info:
    mac: 52:54:00:77:01:01
    name: pc-01
    watch: 180
  delegate_to: imaging-server
  register: pc
"""

RETURN = r"""
stage:
  description: The name of the stage at which the boot stopped, as docs/network.md lists them.
  returned: success
  type: str
  sample: offer_not_taken
sentence:
  description: What was seen, and what to do.
  returned: success
  type: str
  sample: "pc-01: nothing of it has arrived: see that it is switched on and wired, …"
addresses:
  description: The addresses that the machine was seen with.
  returned: success
  type: list
  elements: str
others:
  description: The addresses of other servers that answer its network boot.
  returned: success
  type: list
  elements: str
loaders:
  description: The boot loaders that it fetched.
  returned: success
  type: list
  elements: str
fetched:
  description: The files of its boot target that it fetched.
  returned: success
  type: list
  elements: str
"""

import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.boot.addresses import own_addresses
from ansible_collections.reimage.lab.plugins.module_utils.boot.configuration import Configuration, load_configuration
from ansible_collections.reimage.lab.plugins.module_utils.boot.diagnosis import diagnose
from ansible_collections.reimage.lab.plugins.module_utils.boot.files import arrived_at
from ansible_collections.reimage.lab.plugins.module_utils.boot.journal import read_journal
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
from ansible_collections.reimage.lab.plugins.module_utils.boot.observed import Seen, Server, observe
from ansible_collections.reimage.lab.plugins.module_utils.boot.outcome import load_outcome
from ansible_collections.reimage.lab.plugins.module_utils.boot.packets import Capture, capturing
from ansible_collections.reimage.lab.plugins.module_utils.boot.tokens import load_arming
from ansible_collections.reimage.lab.plugins.module_utils.boot.trail import all_requests
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.fleet.expiry import EXPIRED
from ansible_collections.reimage.lab.plugins.module_utils.fleet.states import load_record
from ansible_collections.reimage.lab.plugins.module_utils.mac import parse_mac

LONGEST = 3600.0
CLOCKS_DIFFER = 60.0  # seconds
UNJUDGED = 5.0  # seconds after which a check-in should have been looked at


def work(module: AnsibleModule) -> dict[str, Any]:
    layout, mac = Layout(Path(module.params["root"])), parse_mac(module.params["mac"])
    macs = [mac, *map(parse_mac, module.params["other_macs"])]
    configuration = load_configuration(layout)
    began = time.time()
    watch = max(0.0, min(LONGEST, module.params["watch"]))
    port = urlsplit(configuration.url).port or 80
    with capturing(watch, port) if watch else nullcontext(Capture) as captured:
        while time.time() < began + watch and not arrived(layout, mac):
            time.sleep(1)
        capture = captured()
    server = describe(layout, configuration, mac, macs)
    seen = look(configuration, macs, server, capture, began)
    if not (seen.last or seen.asked_dhcp):
        arming = load_arming(layout, mac)
        since = arming.armed_at if arming is not None else began - module.params["since"]
        seen = look(configuration, macs, server, capture, min(since, began))
    verdict = diagnose(module.params["name"] or mac, seen, time.time())
    return {
        "changed": False,
        "stage": verdict.stage,
        "sentence": verdict.sentence,
        "addresses": sorted(seen.addresses),
        "others": sorted(seen.others),
        "loaders": seen.loaders,
        "fetched": seen.target_files,
    }


def look(configuration: Configuration, macs: list[str], server: Server, capture: Capture, since: float) -> Seen:
    """Return what is known of the machine since a moment, in seconds since the epoch."""
    return observe(macs, server, capture, read_journal(since), all_requests(configuration, since))


def arrived(layout: Layout, mac: str) -> bool:
    """Whether the machine has checked in, or was refused: then nothing more is to be seen of its boot."""
    arming = load_arming(layout, mac)
    outcome = load_outcome(layout, arming) if arming is not None else None
    return outcome is not None and bool(outcome.checkin or outcome.refused)


def _waits_since(path: Path) -> float:
    """Return when a check-in arrived; one that is judged at this moment does not wait."""
    try:
        return arrived_at(path)
    except FileNotFoundError:
        return math.inf


def describe(layout: Layout, configuration: Configuration, mac: str, macs: list[str]) -> Server:
    """Return what this server has for the machine."""
    arming, now = load_arming(layout, mac), time.time()
    history = load_record(layout, mac)["history"]
    scripts = frozenset(path.name for card in macs for path in layout.scripts(card))
    expired = bool(history) and EXPIRED in history[-1]["note"]
    if arming is None:
        return Server(own_addresses(), scripts, expired=expired)
    waiting = [path for path in layout.arrivals.glob(f"{arming.token}@*.json") if _waits_since(path) < now - UNJUDGED]
    ahead, target = arming.armed_at - now, configuration.targets.get(arming.target)
    files = target.files if target is not None else ()
    return Server(
        own_addresses(),
        scripts,
        armed=True,
        target=target,
        outcome=load_outcome(layout, arming),
        sizes={name: (layout.http / name).stat().st_size for name in files if (layout.http / name).is_file()},
        waiting=len(waiting),
        clock_off=ahead if ahead > CLOCKS_DIFFER else 0.0,
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "mac": {"type": "str", "required": True},
            "other_macs": {"type": "list", "elements": "str", "default": []},
            "name": {"type": "str", "default": ""},
            "watch": {"type": "float", "default": 0},
            "since": {"type": "float", "default": 900},
            "root": {"type": "path", "default": "/srv/reimage/boot"},
        },
        supports_check_mode=True,
    )
    run_module(module, work)


if __name__ == "__main__":
    main()
