#!/usr/bin/python
# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: checkin_program
short_description: Install the programs that judge check-ins and end armings on the boot server
description:
  - Writes the part of this collection's code that judges check-ins and ends armings into a folder, under its own package
    name. It is the code that Ansible sends along with this module, so that it is that of the collection which sets the server up.
  - The role C(boot_server) runs it with systemd, as C(python3 -m PACKAGE.boot.arrivals ROOT), whenever a check-in has
    arrived, and as C(python3 -m PACKAGE.fleet.expiry ROOT) every minute.
version_added: 0.1.0
author: The reimage.lab authors (@reimage-lab)
extends_documentation_fragment: [reimage.lab.attributes]
options:
  path:
    description: The folder to write it to, which C(PYTHONPATH) has to name. It is made if it is missing.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Install what judges check-ins and ends armings
  reimage.lab.checkin_program:
    path: /usr/local/lib/reimage
  delegate_to: imaging-server
"""

RETURN = r"""
files:
  description: The files that were written, or in check mode would be, relative to O(path).
  returned: success
  type: list
  elements: str
"""

import inspect
import sys
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.reimage.lab.plugins.module_utils.boot import arrivals
from ansible_collections.reimage.lab.plugins.module_utils.boot.files import read_text, write_text
from ansible_collections.reimage.lab.plugins.module_utils.entry import run_module
from ansible_collections.reimage.lab.plugins.module_utils.fleet import expiry

PROGRAMS = (arrivals, expiry)
PACKAGE = arrivals.__name__.rpartition(".boot.")[0]


def work(module: AnsibleModule) -> dict[str, Any]:
    root = Path(module.params["path"])
    sources = {root / name: source for name, source in own_sources().items()}
    changed = [path for path, source in sources.items() if read_text(path) != source]
    for path in [] if module.check_mode else changed:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_text(path, sources[path])
    return {"changed": bool(changed), "files": sorted(str(path.relative_to(root)) for path in changed)}


def own_sources() -> dict[str, str]:
    """Return the modules of this collection that were imported here, each file's name with its content.

    Packages need no file: Python takes a folder for one.
    """
    ours = {name: loaded for name, loaded in sys.modules.items() if name.startswith(f"{PACKAGE}.")}
    return {
        f"{name.replace('.', '/')}.py": inspect.getsource(loaded)
        for name, loaded in ours.items()
        if not hasattr(loaded, "__path__")
    }


def main() -> None:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    run_module(module, work)


if __name__ == "__main__":
    main()
