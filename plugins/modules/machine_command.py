#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_command
short_description: Run a command on a machine whose answers are not trusted
description:
  - Runs a command in the shell of the account, as M(ansible.builtin.raw) does. The machine needs no Python.
  - Whatever the machine answers becomes no variable of Ansible's own. Text in it is printable text, however it is shown.
  - A machine that does not answer has failed, so that a C(rescue) hears of it. For other actions it is unreachable.
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes]
attributes:
  check_mode:
    support: none
    description: Skipped in check mode. Set C(check_mode) to V(false) where a command only looks.
  idempotent:
    support: none
    details: [It depends on the command. Say what is a change with C(changed_when).]
  action:
    description: Has a plugin that runs on the controller.
    support: full
options:
  cmd:
    description: The command. Quote what is not yours with the filter P(ansible.builtin.quote#filter).
    type: str
    required: true
  stdin:
    description:
      - What the command reads from its standard input. A secret that goes this way stands on no command line, here or there.
    type: str
  stdin_file:
    description: A file on the controller that the command reads from its standard input, byte by byte.
    type: path
  timeout:
    description:
      - Seconds after which a command that has not ended has failed. A machine could take a command and never answer.
      - This is instead of the keyword of that name, which does not go with it.
    type: int
    default: 120
  wait:
    description: For how many seconds a machine that does not answer is tried again.
    type: int
    default: 0
seealso:
  - module: ansible.builtin.raw
"""

EXAMPLES = r"""
- name: Ask a machine for its name, as soon as it answers
  reimage.lab.machine_command:
    cmd: uname -n
    wait: 300
  register: called
  changed_when: false
  check_mode: false

- name: Put a password into the memory of the machine
  reimage.lab.machine_command:
    cmd: umask 077 && cat >/run/reimage/share
    stdin: "password={{ share_password }}"
  no_log: true
"""

RETURN = r"""
rc:
  description: What the command ended with.
  returned: when the machine answered
  type: int
  sample: 0
stdout:
  description: What it printed; a space stands for each character that is no text.
  returned: when the machine answered
  type: str
  sample: pc-01
stderr:
  description: What it printed as errors, likewise.
  returned: when the machine answered
  type: str
"""
