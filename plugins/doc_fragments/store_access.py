# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.access import Access
from ansible_collections.reimage.lab.plugins.module_utils.options import documentation


class ModuleDocFragment:
    """By what a store knows who may read it."""

    # With its type, for sanity's yamllint takes an assignment without one for a literal.
    DOCUMENTATION: str = json.dumps({"options": documentation(Access)})
