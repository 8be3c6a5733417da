# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a capture or a deploy is: one callback, called often, and what listens to it."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Callable

from ansible_collections.reimage.lab.plugins.module_utils.untrusted import (
    UntrustedError,
    printable,
    read_number,
    read_object,
    read_text,
    read_whole,
)

_STAGE = re.compile(r"[a-z][a-z ]{0,31}")
_LONGEST_TITLE = 200


@dataclass(frozen=True)
class Progress:
    """One moment of long work: bytes done and in total, bytes per second, seconds left."""

    stage: str
    title: str
    done: int
    total: int
    rate: float
    eta: float


Callback = Callable[[Progress], None]


class Meter:
    """Counts bytes from several threads, and tells the callback at most twice a second."""

    INTERVAL = 0.5

    def __init__(self, title: str, callback: Callback | None) -> None:
        self._title = title
        self._callback = callback
        self._lock = Lock()
        self.start("starting", 0)

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of I(total) bytes."""
        with self._lock:
            self._stage, self._total, self._done = stage, total, 0
            self._began = time.monotonic()
            self._told = 0.0
        self.add(0)

    def add(self, count: int) -> None:
        """Count bytes that are done."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if self._callback is None or (now - self._told < self.INTERVAL and self._done < self._total):
                return
            self._told = now
            rate = self._done / max(now - self._began, 0.001)
            eta = max(0, self._total - self._done) / rate if rate else 0.0
            # Told while nobody else counts, so that what is told last is the end.
            self._callback(Progress(self._stage, self._title, self._done, self._total, round(rate), round(eta, 1)))


def file_writer(path: str) -> Callback | None:
    """Return a callback that keeps the latest progress in a JSON file, or None if its folder does not exist."""
    target = Path(path)
    if not target.parent.is_dir():
        return None
    temporary = target.with_name(target.name + ".new")
    lock = Lock()

    def write(progress: Progress) -> None:
        with lock:
            temporary.write_text(json.dumps(asdict(progress)), encoding="ascii")
            temporary.replace(target)

    return write


def read_progress(text: str) -> Progress:
    """Return what a progress file holds. It is untrusted: a machine wrote it.

    :raises UntrustedError: It is not the progress of anything.
    """
    value = read_object(text)
    stage = read_text(value.get("stage"))
    if not _STAGE.fullmatch(stage):
        raise UntrustedError("the stage is not a word")
    total = read_whole(value.get("total"))
    return Progress(
        stage=stage,
        title=printable(read_text(value.get("title")), _LONGEST_TITLE),
        done=min(read_whole(value.get("done")), total),
        total=total,
        rate=read_number(value.get("rate")),
        eta=read_number(value.get("eta")),
    )
