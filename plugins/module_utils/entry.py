# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The common part of all modules: where the project's errors become a module's failure."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def run_module(module: AnsibleModule, work: Callable[[AnsibleModule], dict[str, Any]]) -> None:
    """Exit the module with the result of C(work(module)), or fail it with the message of a C(ReimageError)."""
    # Otherwise it is one more python3 for whoever asks which process works on a disk.
    with suppress(OSError):
        Path("/proc/self/comm").write_text(Path(sys.argv[0]).stem, encoding="utf-8")
    try:
        result = work(module)
    except ReimageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)
