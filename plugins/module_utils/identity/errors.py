# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong with identities."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError


class IdentityError(ReimageError):
    """A machine cannot be given the identity that it should have; nothing was changed unless the message says so."""
