# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong with images."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError


class ImagingError(ReimageError):
    """A store, an image or a disk is not as it must be; the message says which, and what to do."""


class DamagedError(ImagingError):
    """What was read is not what it must be. It may have been damaged only on its way, so that reading it again may help."""


class MissingError(ImagingError):
    """A store does not have what was asked for."""


class UnreachableError(ImagingError):
    """A store does not answer."""
