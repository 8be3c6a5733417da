# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The common part of all modules: where the project's errors become a module's failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def run_module(module: AnsibleModule, work: Callable[[AnsibleModule], dict[str, Any]]) -> None:
    """Exit the module with the result of C(work(module)), or fail it with the message of a C(ReimageError)."""
    try:
        result = work(module)
    except ReimageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)
