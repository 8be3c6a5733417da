#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wait_for_checkin
short_description: Wait until an armed machine has booted and checked in
description:
  - Waits until the boot server has accepted a check-in with the machine's current token. Shows on the controller what
    the machine fetches on its way, and which check-ins are refused meanwhile.
  - Fails where two machines check in as this one, where the machine sends what cannot be used, and where what checked in has the
    address of the controller.
  - Asks the host that the task runs on, so delegate it to the boot server.
  - All that a machine says of itself is untrusted. Every field is checked, but it is still only what the machine says.
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes, reimage.lab.boot]
attributes:
  check_mode:
    details: [Does not wait. Returns the check-in if there is one.]
  action:
    description: Has a plugin that runs on the controller.
    support: full
options:
  timeout:
    description: Seconds after which the task fails.
    type: int
    default: 600
  lease:
    description:
      - Renew the lease of the machine once a minute while waiting, with O(reimage.lab.machine_state#module:lease.purpose) and
        O(reimage.lab.machine_state#module:lease.seconds) in it. Without this option no lease is renewed.
    type: dict
seealso:
  - module: reimage.lab.boot_target
  - module: reimage.lab.checkin_info
"""

EXAMPLES = r"""
- name: Wait until this machine is in automation
  reimage.lab.wait_for_checkin:
    mac: "{{ reimage_macs[0] }}"
    timeout: 300
  delegate_to: imaging-server
  register: automation

- name: Reach it there
  ansible.builtin.set_fact:
    ansible_host: "{{ automation.checkin.address }}"
"""

RETURN = r"""
checkin:
  description: What the machine said of itself, validated, with what M(reimage.lab.checkin_info) adds to it.
  returned: success
  type: dict
  sample:
    protocol: 1
    mac: 52:54:00:77:01:01
    macs: ["52:54:00:77:01:01"]
    address: 10.77.1.101
    host_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE..."]
    uuid: 4c4c4544-0000-2010-8020-80c04f202020
    serial: ABC1234
    vendor: QEMU
    product: Standard PC
    firmware: bios
    memory_bytes: 1073741824
    cpus: 1
    build: "20261121"
    disks: [{path: /dev/vda, size: 8589934592, model: "", serial: "", wwn: ""}]
    received_at: 1795226432.5
    fetched_by: [10.77.1.101]
    challenge:
      nonce: 5f0c8f1d3b7a4e2996d1c0b8a7f6e5d4
      answer: 9b74c9897bac770ffc029102a200c5de9f0c8f1d3b7a4e2996d1c0b8a7f6e5d4
seconds:
  description: How long this task waited.
  returned: success
  type: float
"""
