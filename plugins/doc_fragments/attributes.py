# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What every module of this collection says of itself; a module overrides what differs."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    support: full
    description: Can run in check mode and say what it would change, without changing anything.
  diff_mode:
    support: none
    description: Returns what it changed, or would change, for a person to read.
  idempotent:
    support: full
    description: A second run with the same options changes nothing.
"""
