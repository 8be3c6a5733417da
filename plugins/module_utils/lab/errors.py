# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong in the virtual lab."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError


class LabError(ReimageError):
    """A virtual PC is not defined, does not start, or does not answer."""
