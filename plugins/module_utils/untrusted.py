# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values that a machine, a store or a file gave: each has its type and its bounds, and text is text wherever it is shown."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError

LONGEST_TEXT = 1 << 16
LARGEST_NUMBER = 1 << 63


class UntrustedError(ReimageError):
    """A value is not of the type, or not within the bounds, that it must have."""


def printable(text: str, most: int = LONGEST_TEXT, *, lines: bool = False) -> str:
    """Return at most I(most) characters of a text. A space stands for each that moves a cursor, changes a colour, or is not seen.

    :param lines: Keep line feeds and tabs, too.
    """
    text = text[:most]
    if lines:
        text = text.replace("\r\n", "\n")
    kept = "\n\t" if lines else ""
    return text if text.isprintable() else "".join(char if char.isprintable() or char in kept else " " for char in text)


def read_text(value: Any, most: int = LONGEST_TEXT, *, lines: bool = False) -> str:
    """Return a printable text of at most I(most) characters.

    :param lines: Keep line feeds and tabs.
    """
    if not isinstance(value, str):
        raise UntrustedError(f"{_shown(value)} is not text")
    if len(value) > most:
        raise UntrustedError(f"a text of {len(value)} characters is longer than {most}")
    return printable(value, lines=lines)


def read_whole(value: Any, most: int = LARGEST_NUMBER, least: int = 0) -> int:
    """Return a whole number from I(least) to I(most)."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UntrustedError(f"{_shown(value)} is not a whole number from {least} to {most}")
    return int(value)


def read_number(value: Any, most: int = LARGEST_NUMBER, least: int = 0) -> float:
    """Return a number from I(least) to I(most): neither an infinite one nor NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise UntrustedError(f"{_shown(value)} is not a number from {least} to {most}")
    return float(value)


def read_yes_or_no(value: Any) -> bool:
    """Return a boolean."""
    if not isinstance(value, bool):
        raise UntrustedError(f"{_shown(value)} is neither true nor false")
    return value


def read_tree(value: Any, most: int = LONGEST_TEXT, *, lines: bool = False, depth: int = 8) -> Any:
    """Return whatever JSON can say, with each text, key and number checked.

    :param most: Characters of each text.
    :param lines: Keep line feeds and tabs.
    :param depth: How many lists and mappings may be in each other.
    """
    if isinstance(value, (dict, list)):
        if not depth:
            raise UntrustedError("it is nested too deeply")
        inner = partial(read_tree, most=most, lines=lines, depth=depth - 1)
        if isinstance(value, list):
            return [inner(item) for item in value]
        return {read_text(key): inner(item) for key, item in value.items()}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return read_whole(value, least=-LARGEST_NUMBER)
    return read_number(value, least=-LARGEST_NUMBER) if isinstance(value, float) else read_text(value, most, lines=lines)


def read_object(text: str) -> dict[str, Any]:
    """Return the JSON object that a text is, checked by C(read_tree)."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UntrustedError(f"{_shown(text)} is not JSON") from error
    if not isinstance(value, dict):
        raise UntrustedError(f"{_shown(text)} is not a JSON object")
    checked: dict[str, Any] = read_tree(value)
    return checked


def _shown(value: Any) -> str:
    """Return the beginning of a value. Its whole could be endless, and that of a deep one cannot be had."""
    if isinstance(value, (dict, list)):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    return printable(repr(value[:40] if isinstance(value, str) else value), 60)
