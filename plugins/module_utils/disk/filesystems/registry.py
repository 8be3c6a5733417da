# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All filesystems, by what blkid calls them.

Each is imported by name, as Ansible sends to a machine only what it finds imported; a test compares this list with the folder.
"""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.base import Filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.bitlocker import Bitlocker
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.btrfs import Btrfs
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.exfat import Exfat
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.ext import Ext, Journal
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.f2fs import F2fs
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.fat import Fat
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.md import Md
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.ntfs import Ntfs
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.swap import Swap
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.xfs import Log, Xfs

KINDS = (Bitlocker, Btrfs, Exfat, Ext, F2fs, Fat, Journal, Log, Md, Ntfs, Swap, Xfs)
FILESYSTEMS = {name: kind(name) for kind in KINDS for name in kind.names}


def filesystem(name: str) -> Filesystem:
    """Return the filesystem that blkid calls I(name); for one that is not known, such as LUKS or none at all, whole bytes."""
    return FILESYSTEMS.get(name) or Filesystem(name)


def growing() -> list[str]:
    """Return the names of those that grow."""
    return [name for name, one in FILESYSTEMS.items() if one.grows]
