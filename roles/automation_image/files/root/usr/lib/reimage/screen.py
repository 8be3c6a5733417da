# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machine's own screen: who it is, what is being done to it, and how far that is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

RUN = Path("/run/reimage")
STAGES = {"writing": "Writing", "verifying": "Reading back", "capturing": "Capturing", "starting": "Starting"}
BOLD, DIM, RED, GREEN, BLUE, PLAIN = "\33[1m", "\33[37m", "\33[1;37;41m", "\33[1;32m", "\33[1;36m", "\33[0m"
MIB = 1 << 20


def number(value: object) -> float:
    """Return a number that makes sense, or zero."""
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 1 << 63 else 0.0


def mapping(value: object) -> dict[str, object]:
    """Return a mapping as it is, and for anything else an empty one."""
    return value if isinstance(value, dict) else {}


def plain(text: object) -> str:
    """Return a text that moves no cursor and changes no colour, as firmware or an image may have one."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def size(count: float) -> str:
    """Return bytes for people."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / MIB:.0f} MiB"


def span(seconds: float) -> str:
    """Return seconds for people."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def gauge(share: float, width: int) -> str:
    """Return a bar that is filled to a share of its width."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return f"{GREEN}{'#' * filled}{PLAIN}{DIM}{'.' * (width - filled)}{PLAIN}"


def progress_lines(progress: dict[str, object], width: int) -> list[str]:
    """Return what is being done, a bar, the rate and the time left."""
    done, total, rate, eta = (number(progress.get(key)) for key in ("done", "total", "rate", "eta"))
    stage = plain(progress.get("stage", ""))
    share = done / total if total else 0.0
    what = f"{STAGES.get(stage, stage.capitalize())}  {plain(progress.get('title', ''))}"
    lines = [f"{BOLD}{what[:width]}{PLAIN}", ""]
    if total:
        lines += [
            f"{gauge(share, width - 8)} {share:6.1%}",
            "",
            f"{size(done)} of {size(total)}     {rate / MIB:.0f} MiB/s     {span(eta)} left",
        ]
    return lines


def failure_lines(reason: str, console: bool, width: int) -> list[str]:
    """Return why the machine needs somebody, on red."""
    words, lines = plain(reason).split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()[:width]
    shown = ["FAILED", "", *lines, "", "This machine waits for you: run the playbook again."]
    shown += ["With the password of the console, Alt-F2 leads to a shell."] if console else []
    return [f"{RED} {line.ljust(width)[:width]} {PLAIN}" for line in shown]


def render(state: dict[str, object], width: int) -> str:
    """Return the whole screen.

    :param state: C(title), C(progress), C(status), C(failed) and C(machine), as the files of /run/reimage hold them; C(console),
        whether there is a shell.
    """
    title, machine, progress = (mapping(state.get(key)) for key in ("title", "machine", "progress"))
    name = plain(title.get("name") or "automation")
    facts = [plain(machine[key]) for key in ("address", "mac", "vendor", "product") if machine.get(key)]
    inner = width - 6
    lines = ["", f"{BLUE}{name[:inner]}{PLAIN}", f"{DIM}{'  '.join(facts)[:inner]}{PLAIN}", f"{DIM}{'-' * inner}{PLAIN}", ""]
    if state.get("failed"):
        lines += failure_lines(str(state["failed"]), bool(state.get("console")), inner - 2)
    elif progress:
        lines += progress_lines(progress, inner)
    else:
        status = plain(state.get("status") or "starting")
        lines += [f"{BOLD}{status[0].upper()}{status[1:]}{PLAIN}"]
    lines += ["", f"{DIM}reimage.lab: this machine is being worked on. Please leave it switched on.{PLAIN}"]
    return "\n".join(f"   {line}\33[K" for line in lines)


def load(name: str, structured: bool) -> object:
    """Return what a file of /run/reimage holds, or nothing."""
    try:
        text = (RUN / name).read_text(errors="replace")
        return json.loads(text) if structured else text.strip()
    except (OSError, ValueError, RecursionError):
        return None


def main() -> None:
    """Draw the screen whenever something has changed."""
    shown = ""
    print("\33[2J\33[?25l", end="")
    while True:
        state = {key: load(f"{key}.json", True) for key in ("title", "progress")}
        state.update(machine=load("checkin.json", True), status=load("status", False), failed=load("failed", False))
        state["console"] = (RUN / "console").exists()
        screen = render(state, os.get_terminal_size().columns)
        if screen != shown:
            shown = screen
            print(f"\33[H{screen}\33[J", end="", flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
