# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same work on many items, in a few threads, with nothing queued: memory does not grow with the number of items."""

from __future__ import annotations

import os
import threading
from typing import Callable, Iterable, TypeVar

T = TypeVar("T")
_END = object()


def threads() -> int:
    """Return how many threads keep the processors busy while some of them wait for a disk or the network."""
    return min(16, len(os.sched_getaffinity(0)) + 2)


def each(items: Iterable[T], work: Callable[[T], None], count: int) -> None:
    """Do I(work) on every item, in I(count) threads. The first error, of I(items) too, stops all of them and is raised."""
    iterator = iter(items)
    lock = threading.Lock()
    errors: list[BaseException] = []

    def loop() -> None:
        while not errors:
            try:
                with lock:
                    item = next(iterator, _END)
                if item is _END:
                    return
                work(item)  # type: ignore[arg-type]
            except BaseException as error:
                errors.append(error)

    workers = [threading.Thread(target=loop, daemon=True) for _number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
