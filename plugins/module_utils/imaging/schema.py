# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What JSON from elsewhere must look like: a check for each value, made of the checks for what is in it.

A check returns the value, or raises C(ValueError) that names the place and what must stand there.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping

Check = Callable[[Any, str], Any]

_LONGEST_NUMBER = 20


def parse(data: bytes, most_values: int) -> Any:
    """Return what JSON says, in memory that I(most_values) bounds: whole numbers only, and none that is too long to be sensible.

    :raises ValueError: It is not such JSON.
    """
    # Each value but the first of a list comes after a comma, and all that stands for memory of its own has a bracket.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > most_values:
        raise ValueError(f"it holds more than {most_values} values")
    try:
        return json.loads(data, parse_int=_whole, parse_float=_refuse, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def text(most: int) -> Check:
    """Text of at most I(most) letters."""

    def check(value: Any, place: str) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f"{place}: {_shown(value)} is not text of at most {most} letters")
        value.encode()  # half of a pair of surrogates can be in JSON, and nowhere else
        return value

    return check


def whole(least: int, most: int) -> Check:
    """A whole number."""

    def check(value: Any, place: str) -> int:
        # Python counts True as an int.
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{place}: {_shown(value)} is not a whole number from {least} to {most}")
        return value

    return check


def items(each: Check, most: int) -> Check:
    """A list of at most I(most) values of one kind."""

    def check(value: Any, place: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            raise ValueError(f"{place}: {_shown(value)} is not a list of at most {most}")
        return [each(item, f"{place}[{number}]") for number, item in enumerate(value)]

    return check


def pair(first: Check, second: Check) -> Check:
    """A list of two values."""

    def check(value: Any, place: str) -> tuple[Any, Any]:
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError(f"{place}: {_shown(value)} is not a list of two")
        return first(value[0], place), second(value[1], place)

    return check


def fields(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    """An object that has all of some fields, and no others but those of I(optional)."""

    def check(value: Any, place: str) -> dict[str, Any]:
        mapping(value, place)
        known = {**required, **optional}
        wrong = sorted((required.keys() - value.keys()) | (value.keys() - known.keys()))
        if wrong:
            kind = "is missing" if wrong[0] in required else "is unknown"
            raise ValueError(f"{place}: field {_shown(wrong[0])} {kind}")
        return {name: known[name](item, f"{place}.{name}") for name, item in value.items()}

    return check


def mapping(value: Any, place: str) -> dict[str, Any]:
    """An object, whatever is in it."""
    if not isinstance(value, dict):
        raise ValueError(f"{place}: {_shown(value)} is not an object")
    return value


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _refuse(number: str) -> None:
    raise ValueError(f"{number:.20} is not a whole number")


def _shown(value: Any) -> str:
    """Return the beginning of a value, at no cost where there is much of it."""
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'object'} of {len(value)}"
    return ascii(value[:40]) if isinstance(value, str) else f"{value!r:.40}"
