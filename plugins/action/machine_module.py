# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module of this collection, and believes of its result what the module documents. See C(meta/runtime.yml)."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.plugin_utils.machine import MachineAction


class ActionModule(MachineAction):
    """The action plugin of the modules that have none of their own."""
