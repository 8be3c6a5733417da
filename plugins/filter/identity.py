# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: identity
short_description: The identity that a machine in production says it has
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
description:
  - Reads the output of a command that prints the name of the system, and in the next lines its C(identity.json), which
    M(reimage.lab.linux_identity) and M(reimage.lab.sysprep_inject) write.
  - The machine may say anything; of what is no such output, the result is empty.
positional: _input
options:
  _input:
    description: What the command printed.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Ask a Linux who it is
  reimage.lab.machine_command:
    cmd: uname -n; cat /var/lib/reimage/identity.json
  register: said
  changed_when: false

- name: Show it
  ansible.builtin.debug:
    msg: "{{ said.stdout | reimage.lab.identity }}"
"""

RETURN = r"""
_value:
  description:
    - C(calls_itself), the name of the system, C(hostname) and C(image), which it was given; each is empty where the machine does
      not say it.
  type: dict
"""

from dataclasses import asdict
from typing import Any, Callable

from ansible_collections.reimage.lab.plugins.module_utils.identity.said import parse


def identity(text: Any) -> dict[str, str]:
    """Return it."""
    return asdict(parse(str(text)))


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it by its name."""
        return {"identity": identity}
