# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong with disks."""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError


class DiskError(ReimageError):
    """A disk, its table or a filesystem is not as it must be; the message says which, and what to do."""


class ReadError(DiskError):
    """Some bytes of a disk cannot be read."""
