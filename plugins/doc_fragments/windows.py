# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.volume import Place
from ansible_collections.reimage.lab.plugins.module_utils.options import documentation


class ModuleDocFragment:
    """The options that say which Windows is meant."""

    # With its type, for sanity's yamllint takes an assignment without one for a literal.
    DOCUMENTATION: str = json.dumps({"options": documentation(Place)})
