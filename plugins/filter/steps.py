# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: steps
short_description: The steps of a walk that there are to take
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
description:
  - Returns the steps of a walk of the role C(reimage) in the order in which they are taken, with the hooks among them and without
    those that do not apply.
positional: _input
options:
  _input:
    description: A walk, as C(roles/reimage/vars/walk.yml) describes it.
    type: list
    elements: dict
    required: true
  system:
    description: What C(SYSTEM) stands for in the names of files.
    type: str
    choices: [linux, windows]
    required: true
  attached:
    description: Whether an earlier run left the machine in automation.
    type: bool
    default: false
  until:
    description: The state whose step is the last to take; empty for all.
    type: str
    default: ''
  hooks:
    description: Files of tasks by C(before) or C(after), and state.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show which steps there are
  ansible.builtin.debug:
    msg: "{{ walk | reimage.lab.steps(system='linux') }}"
  vars:
    walk:
      - {state: preflight, in: automation, do: systems/SYSTEM/preflight.yml}
"""

RETURN = r"""
_value:
  description:
    - The steps, each with C(in), C(do), C(state), C(within), C(hook) (the state whose hook it is) and C(batch), as far as they
      apply.
  type: list
  elements: dict
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.fleet import walk


def steps(*arguments: Any, **options: Any) -> list[dict[str, Any]]:
    """Return the steps to take."""
    try:
        return walk.steps(*arguments, **options)
    except ReimageError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it by its name."""
        return {"steps": steps}
