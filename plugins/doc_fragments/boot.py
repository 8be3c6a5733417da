# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options of the modules that run on the boot server."""

    DOCUMENTATION = r"""
options:
  mac:
    description: The MAC address that the boot server knows the machine by, that of the network card that boots, in any usual
      notation.
    type: str
    required: true
  root:
    description: The folder of boot control on the boot server.
    type: path
    default: /srv/reimage/boot
"""
