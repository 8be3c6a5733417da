# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that say which image of which store is meant."""

    # An image that there is, from a store that may be anywhere.
    SOURCE = r"""
options:
  store:
    description: The image store, a folder or a URL (HTTP(S), or C(s3+https://SERVER/BUCKET/FOLDER)).
    type: str
    required: true
  name:
    description: Name of the image.
    type: str
    required: true
  version:
    description: Version of the image; V(latest) is the one that was published last.
    type: str
    default: latest
"""

    # An image that is made, in a folder.
    DESTINATION = r"""
options:
  store:
    description: The image store, a folder. It is made into one if it is empty.
    type: path
    required: true
  name:
    description: Name of the image.
    type: str
    required: true
  version:
    description: Version of the image. The default is the UTC time, such as V(20261121T093000Z).
    type: str
    default: ""
"""
