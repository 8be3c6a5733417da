# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The exception of this package."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError


class FleetError(ReimageError):
    """What is known of the machines does not allow something."""
