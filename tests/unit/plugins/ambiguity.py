# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds regular expressions that a text can have read in very many ways, all of which C(re) tries before it says no.

An expression becomes a Glushkov automaton: one state per character that it names, and which may follow which. Two different ways
around the same loop for one text mean exponential time. A text that one loop reads, that leads from it to another loop, and that
the other one reads too means at least quadratic time (Weber and Seidl, "On the degree of ambiguity of finite automata", 1991).
Bounded repetitions count as unbounded. The end of the text is respected, and at the beginning of an expression that of a line or
a word; other assertions are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

# One letter stands for all that are not ASCII.
ALPHABET = frozenset(range(128)) | {0xE9}
LINE_END = frozenset({10})
_CLASSES = {
    code.CATEGORY_DIGIT: r"\d",
    code.CATEGORY_NOT_DIGIT: r"\D",
    code.CATEGORY_SPACE: r"\s",
    code.CATEGORY_NOT_SPACE: r"\S",
    code.CATEGORY_WORD: r"\w",
    code.CATEGORY_NOT_WORD: r"\W",
}
_REPEATS = (code.MAX_REPEAT, code.MIN_REPEAT)


class Part(NamedTuple):
    """A part of an expression: whether it matches nothing, and the states that it may begin and end with."""

    empty: bool
    first: list[int]
    last: list[int]


NOTHING = Part(True, [], [])


class Automaton:
    """The states of an expression. That C(follow) has a state twice means that there are two ways to it."""

    def __init__(self, pattern: str | bytes, flags: int = 0, *, search: bool = False, whole: bool = False) -> None:
        tree = parser.parse(pattern, flags)
        self._flags = tree.state.flags
        self.letters: list[frozenset[int]] = []
        self.follow: list[list[int]] = []
        before = self._before(tree) if search else NOTHING
        self._end = set(self._then(before, self._sequence(tree)).last)
        self._whole = whole

    def _before(self, tree: Sequence[Any]) -> Part:
        """A search begins anywhere; one for the beginning of a line or a word only behind a certain letter."""
        anything = self._state(ALPHABET)
        self._link(anything.last, anything.first)
        kind = tree[0][1] if len(tree) and tree[0][0] is code.AT else None
        if kind is code.AT_BEGINNING_STRING or (kind is code.AT_BEGINNING and not self._flags & re.M):
            return NOTHING
        if kind is code.AT_BEGINNING:
            return self._then(anything, self._state(LINE_END))
        if kind is code.AT_BOUNDARY:
            return self._then(anything, self._state(_letters(r"\W")))
        return anything

    def _state(self, letters: Iterable[int]) -> Part:
        found = set(letters)
        if self._flags & re.I:
            found |= {ord(chr(letter).swapcase()) for letter in found if letter < 128}
        self.letters.append(frozenset(found) & ALPHABET)
        self.follow.append([])
        return Part(False, [len(self.follow) - 1], [len(self.follow) - 1])

    def _link(self, last: list[int], first: list[int]) -> None:
        for state in last:
            self.follow[state] += first

    def _then(self, one: Part, other: Part) -> Part:
        self._link(one.last, other.first)
        return Part(
            one.empty and other.empty,
            one.first + (other.first if one.empty else []),
            other.last + (one.last if other.empty else []),
        )

    def _sequence(self, items: Iterable[Any]) -> Part:
        part = NOTHING
        for kind, value in items:
            part = self._then(part, self._item(kind, value))
        return part

    def _item(self, kind: Any, value: Any) -> Part:
        if kind is code.SUBPATTERN:
            before, self._flags = self._flags, (self._flags | value[1]) & ~value[2]
            part = self._sequence(value[3])
            self._flags = before
            return part
        if kind in _REPEATS:
            return self._repeat(*value)
        if kind is code.BRANCH:
            parts = [self._sequence(branch) for branch in value[1]]
            first = [state for part in parts for state in part.first]
            last = [state for part in parts for state in part.last]
            return Part(any(part.empty for part in parts), first, last)
        if kind is code.AT:
            at_end = value in (code.AT_END, code.AT_END_STRING) and not self._flags & re.M
            return self._state(()) if at_end else NOTHING
        return NOTHING if kind in (code.ASSERT, code.ASSERT_NOT) else self._state(self._one(kind, value))

    def _repeat(self, least: int, most: int, body: Any) -> Part:
        if least == most:
            return self._sequence(item for _time in range(least) for item in body)
        part = self._sequence(body)
        if most > 1:
            self._link(part.last, part.first)
        return Part(part.empty or least == 0, part.first, part.last)

    def _one(self, kind: Any, value: Any) -> frozenset[int]:
        if kind is code.LITERAL:
            return frozenset({value if value < 128 else 0xE9})
        if kind is code.NOT_LITERAL:
            return ALPHABET - {value}
        if kind is code.ANY:
            return ALPHABET if self._flags & re.S else ALPHABET - LINE_END
        if kind is code.CATEGORY:
            return _letters(_CLASSES[value])
        if kind is code.RANGE:
            return frozenset(range(value[0], value[1] + 1))
        if kind is code.IN:
            negated = value[0][0] is code.NEGATE
            found = frozenset().union(*(self._one(*item) for item in value[negated:]))
            return ALPHABET - found if negated else found
        if kind is code.GROUPREF:
            return ALPHABET
        raise NotImplementedError(kind)

    def exponential(self) -> bool:
        """Whether some text leads from a state to itself in two ways."""
        for state in range(len(self.follow)):
            if any(one != other for one, other in _around((state, state), self._together)):
                return True
            around = _around(state, self.follow.__getitem__)
            if any(self.follow[one].count(other) > 1 for one in around for other in around):
                return True
        return False

    def polynomial(self) -> bool:
        """Whether some text leads from one state to itself, from it to another, and from that to itself."""
        sure = self._sure()
        looping = [state for state in range(len(self.follow)) if _around(state, self.follow.__getitem__)]
        return any(
            (one, other, other) in _reached((one, one, other), self._together)
            for one in looping
            for other in looping
            if one != other and other not in sure
        )

    def _sure(self) -> set[int]:
        """Return the states behind which a match cannot fail, whatever the text goes on with: nothing is tried again then."""
        sure = set(range(len(self.follow)))
        while True:
            left = {state for state in sure if self._cannot_fail(state, sure)}
            if left == sure:
                return sure
            sure = left

    def _cannot_fail(self, state: int, sure: set[int]) -> bool:
        following = [other for other in self.follow[state] if other in sure]
        any_letter = frozenset().union(*(self.letters[other] for other in following)) == ALPHABET
        if self._whole:
            return state in self._end and any_letter
        # Where the end stands in the expression, it is a state without letters.
        return state in self._end or (any_letter and any(not self.letters[other] and other in self._end for other in following))

    def _together(self, states: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Yield where the states may all go by one letter."""
        found: set[tuple[tuple[int, ...], frozenset[int]]] = {((), ALPHABET)}
        for state in states:
            found = {
                ((*before, following), common)
                for before, letters in found
                for following in self.follow[state]
                for common in [letters & self.letters[following]]
                if common
            }
        return (following for following, _letters in found)


def _letters(expression: str) -> frozenset[int]:
    return frozenset(letter for letter in ALPHABET if re.fullmatch(expression, chr(letter)))


def _reached(start: Any, following: Callable[[Any], Iterable[Any]]) -> set[Any]:
    """Return what can be reached in one step or more."""
    found: set[Any] = set()
    todo = [start]
    while todo:
        new = set(following(todo.pop())) - found
        found |= new
        todo += new
    return found


def _around(start: Any, following: Callable[[Any], Iterable[Any]]) -> set[Any]:
    """Return what is on the ways from a node back to it, with the node itself; nothing if there is no such way."""
    into: dict[Any, set[Any]] = {}
    for node in {start} | _reached(start, following):
        for other in following(node):
            into.setdefault(other, set()).add(node)
    return _reached(start, lambda node: into.get(node, set()))
