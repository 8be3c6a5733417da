# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that capturing and deploying share."""

    DOCUMENTATION = r"""
options:
  disk:
    description:
      - The disk, as a path to a device or to a raw disk file, or as a mapping of C(serial), C(wwn), C(model), C(size_min) and
        C(size_max) (bytes) that matches exactly one disk.
      - A mapping never means a removable or USB disk.
      - A disk that is in use is refused. It is locked meanwhile (flock, as udev and systemd do), and whoever else is at work on
        it is named.
    type: raw
    required: true
  progress_file:
    description: Where to write how far it is, as JSON, for the machine's screen. Nothing is written if its folder is missing.
    type: path
    default: /run/reimage/progress.json
  timeout:
    description: Seconds after which it is stopped.
    type: int
    default: 14400
"""
