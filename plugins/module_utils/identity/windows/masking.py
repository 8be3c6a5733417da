# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a Windows as a diff may show them, without secrets: those of now by their value, others by where they stand."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import template
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.unattend import local

MASK = "********"
_ELEMENT = re.compile(r"(?i).*password|value|accountdata|productkey|key")
_LINE = re.compile(r"(?im)^([^\S\n]*(?:AdminPassword|DomainAdminPassword|ProductKey|ProductID)[^\S\n]*=).*")
_PRODUCT_KEY = re.compile(r"(?i)\b[A-Z0-9]{5}(?:-[A-Z0-9]{5}){4}\b")


def masked(data: bytes, secrets: Sequence[str]) -> str:
    """Return the text of a file without what is, or looks like, a secret.

    :param secrets: Those that are declared now.
    """
    try:
        text = template.decode(data, "")
        if text.lstrip().startswith("<"):
            root = template.parse(text, "")
            _mask(root, secrets)
            return _without(ET.tostring(root, encoding="unicode"), ())
    except IdentityError:
        return f"({len(data)} bytes that are not text, or not XML)"
    return _LINE.sub(rf"\1{MASK}", _without(text, secrets))


def _mask(root: ET.Element, secrets: Sequence[str]) -> None:
    for element in root.iter():
        if _ELEMENT.fullmatch(local(element)) and (element.text or "").strip():
            element.text = MASK
        element.text = _without(element.text or "", secrets)
        element.attrib = {name: _without(value, secrets) for name, value in element.attrib.items()}


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _PRODUCT_KEY.sub(MASK, text)
