# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows how far reimage.lab.image_capture is while it works."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.plugin_utils.progress import ProgressAction


class ActionModule(ProgressAction):
    """The action plugin of the module."""
