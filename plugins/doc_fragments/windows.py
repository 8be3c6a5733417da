# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that say which Windows is meant."""

    DOCUMENTATION = r"""
options:
  path:
    description: The root of a mounted Windows volume.
    type: path
  disk:
    description: The disk, a device or a raw disk file. The one partition that holds Windows is found on it.
    type: path
"""
