# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Return a boot server's folder as the roles leave it."""
    served = ("http/machines", "http/automation", "state")
    for folder in (*served, "hosts", "tokens", "checkin", "arrivals", "outcomes", "records"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "http/automation/vmlinuz").touch()
    (tmp_path / "http/automation/initrd.img").touch()
    (tmp_path / "http/memtest").touch()
    configuration = {
        "url": "http://10.77.1.2",
        "targets": {
            "automation": {"kernel": "automation/vmlinuz", "initrd": "automation/initrd.img", "arguments": ["quiet"]},
            "memtest": {"kernel": "memtest"},
            "broken": {"kernel": "nothing/here"},
        },
        "subnets": ["10.77.1.0/24", "10.77.2.0/24"],
        "access_log": str(tmp_path / "access.log"),
    }
    (tmp_path / "boot.json").write_text(json.dumps(configuration))
    return Layout(tmp_path)
