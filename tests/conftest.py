# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the collection importable as C(ansible_collections.reimage.lab), wherever the clone is.

Also splits the tests between two workers (C(pytest -n 2)): one runs those of the virtual lab, the other one all others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible_collections
import pytest

ROOT = Path(__file__).resolve().parent.parent
# The `ansible` package may make ansible_collections a regular package, which another folder on sys.path cannot extend.
ansible_collections.__path__ = [str(ROOT / "var/collections/ansible_collections"), *ansible_collections.__path__]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling  # whoever has no pytest-xdist has one worker

    class LabAndDisks(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "lab" if nodeid.startswith("tests/e2e/") else "disks"

    return LabAndDisks(config, log)
