# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: hook_mistakes
short_description: The mistakes in the hooks that somebody declared for a walk
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
description:
  - Says what is wrong with C(reimage_hooks) of the role C(reimage), before anything is done.
  - It looks on the controller whether the files exist.
positional: _input
options:
  _input:
    description: C(reimage_hooks).
    type: dict
    required: true
  walks:
    description: The walks by their names, as C(roles/reimage/vars/walk.yml) describes them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See that the hooks make sense
  ansible.builtin.assert:
    that: reimage_hooks | reimage.lab.hook_mistakes(reimage_walks) | length == 0
"""

RETURN = r"""
_value:
  description: The mistakes, a sentence each.
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any, Callable

from ansible_collections.reimage.lab.plugins.module_utils.fleet import walk


def hook_mistakes(hooks: Any, walks: Any) -> list[str]:
    """Return the mistakes."""
    mistakes = list(walk.hook_mistakes(walks, hooks))
    files = [] if mistakes else walk.hook_files(hooks)
    return mistakes or [f"reimage_hooks: there is no file {file} on the controller" for file in files if not Path(file).is_file()]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return it by its name."""
        return {"hook_mistakes": hook_mistakes}
