# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one run of a playbook did to which machine, and how long each state took."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable

from ansible_collections.reimage.lab.plugins.module_utils.untrusted import (
    UntrustedError,
    printable,
    read_number,
    read_text,
    read_whole,
)

KEPT_RUNS = 20
MIB = 1 << 20
_LONGEST_REASON = 2000
_MOST_WARNINGS = 8
# What machines tell of their work: figures of image_deploy and image_capture.
_FIGURES: dict[str, Callable[[Any], Any]] = {
    "image": read_text,
    "bytes_used": read_whole,
    "bytes_fetched": read_whole,
    "bytes_written": read_whole,
    "chunks_new": read_whole,
    "chunks_changed": read_whole,
    "seconds": read_number,
}


@dataclass
class Step:
    """One state of a machine: when it began, in seconds since the epoch, and how long it lasted, in seconds."""

    state: str
    at: float
    seconds: float
    note: str = ""


@dataclass
class Machine:
    """One machine in one run."""

    name: str
    state: str
    image: str
    reason: str
    steps: list[Step] = field(default_factory=list)
    work: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """From the first state to the last."""
        return self.steps[-1].at - self.steps[0].at if self.steps else 0.0


@dataclass
class Run:
    """One run of a playbook."""

    playbook: str
    started: float
    machines: list[Machine] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many machines are done."""
        return sum(machine.state == "done" for machine in self.machines)


def machine_from(record: dict[str, Any], started: float, work: dict[str, Any]) -> Machine:
    """Return a machine from its record on the boot server. What makes no sense is left out, so that the rest is reported.

    :param started: When the run began; what the record says of earlier runs is left out.
    :param work: The result of C(image_deploy) or C(image_capture), if it came to that.
    """
    history = [(state, at) for state, at in _history(record.get("history")) if at >= started - 1]
    ends = [at for _state, at in history[1:]] + [at for _state, at in history[-1:]]
    steps = [Step(state, at, max(0.0, end - at)) for (state, at), end in zip(history, ends)]
    texts = {key: printable(str(record.get(key) or ""), _LONGEST_REASON) for key in ("name", "state", "image", "reason")}
    return Machine(steps=steps, work=figures_in(work), warnings=_warnings(record.get("secure_boot")), **texts)


def _warnings(secure_boot: Any) -> list[str]:
    """Return what will not start on the machine."""
    found = secure_boot.get("warnings") if isinstance(secure_boot, dict) else None
    return [printable(str(item), _LONGEST_REASON) for item in found[:_MOST_WARNINGS]] if isinstance(found, list) else []


def figures_in(work: dict[str, Any]) -> dict[str, Any]:
    """Return those figures of a machine's work that are what they should be."""
    known = {}
    for name, read in _FIGURES.items():
        with suppress(UntrustedError, KeyError):
            known[name] = read(work[name])
    return known


def _history(entries: Any) -> list[tuple[str, float]]:
    """Return the states of a record and when each began."""
    known = []
    for entry in entries if isinstance(entries, list) else []:
        with suppress(UntrustedError, KeyError, TypeError):
            known.append((read_text(entry["state"], 100), read_number(entry["at"])))
    return known


def table(run: Run) -> list[str]:
    """Return the lines of a table for a terminal: a machine a line, its states and how long each took."""
    states = list(dict.fromkeys(step.state for machine in run.machines for step in machine.steps[:-1]))
    header = ["machine", "result", "image", "total", *states, "written", "rate"]
    rows = [header]
    for machine in run.machines:
        took = {step.state: f"{step.seconds:.0f} s" for step in machine.steps[:-1]}
        total = f"{machine.seconds:.0f} s" if len(machine.steps) > 1 else "nothing to do"
        rows.append(
            [
                machine.name,
                machine.state,
                machine.image,
                total,
                *(took.get(state, "") for state in states),
                *_figures(machine.work),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    reasons = [f"{machine.name}: {machine.reason}" for machine in run.machines if machine.reason]
    warnings = [f"{machine.name}: warning: {text}" for machine in run.machines for text in machine.warnings]
    return [*lines, *reasons, *warnings]


def _figures(work: dict[str, Any]) -> list[str]:
    count, seconds = work.get("bytes_written", work.get("bytes_used")), work.get("seconds")
    if count is None or not seconds:
        return ["", ""]
    return [f"{count / MIB:.0f} MiB", f"{count / MIB / seconds:.0f} MiB/s"]


def save(folder: Path, run: Run) -> list[dict[str, Any]]:
    """Add a run to C(report.json) and return all that it holds, the latest first."""
    path = folder / "report.json"
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    except (OSError, ValueError, KeyError, TypeError):
        runs = []
    runs = [{**asdict(run), "finished": time.time()}, *runs][:KEPT_RUNS]
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(".report.json.new")
    temporary.write_text(json.dumps({"runs": runs}, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return runs
