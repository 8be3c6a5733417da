# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the collection importable as C(ansible_collections.reimage.lab) from wherever it was cloned to.

And gives each of two workers (C(pytest -n 2 --dist loadgroup)) its part: one has the virtual lab, the other one all else.
"""

from __future__ import annotations

from pathlib import Path

import ansible_collections
import pytest

ROOT = Path(__file__).resolve().parent.parent
# The `ansible` package may make ansible_collections a regular package, which another folder on sys.path cannot extend.
ansible_collections.__path__ = [str(ROOT / "var/collections/ansible_collections"), *ansible_collections.__path__]


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group("lab" if item.path.is_relative_to(ROOT / "tests/e2e") else "disks"))
