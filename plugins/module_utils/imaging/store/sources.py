# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stores of the same images, which stand in for each other."""

from __future__ import annotations

from contextlib import suppress
from typing import Callable, Sequence, TypeVar

from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import DamagedError, ImagingError, UnreachableError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store

_TRIES = 3
T = TypeVar("T")


class Sources:
    """A store and its mirrors. Threads may share it."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = stores
        self._silent: set[str] = set()

    def in_order(self) -> list[Store]:
        """Return the stores in the order in which to try them: last those that did not answer."""
        return sorted(self._stores, key=lambda store: store.where in self._silent)

    def first(self, read: Callable[[Store], T]) -> T:
        """Return what I(read) returns for the first store for which it does not fail.

        :raises ImagingError: It fails for all of them; the message has every reason.
        """
        errors: list[ImagingError] = []
        for store in self.in_order():
            try:
                return _read(store, read)
            except ImagingError as error:
                errors.append(error)
                if isinstance(error, UnreachableError):
                    self._silent.add(store.where)
        raise errors[0] if len(errors) == 1 else ImagingError("; ".join(map(str, errors)))


def _read(store: Store, read: Callable[[Store], T]) -> T:
    for _attempt in range(_TRIES - 1):
        with suppress(DamagedError):  # on its way here, perhaps
            return read(store)
    return read(store)
