# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as one HTML page that needs nothing else: a timeline a machine, failures, and what the screens showed."""

from __future__ import annotations

import base64
import time
from html import escape
from pathlib import Path
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.fleet.run import figures_in

MIB = 1 << 20
LARGEST = 12 * MIB
COLOURS = {
    "armed": "#b8c4d6",
    "booted": "#7fa7dd",
    "preflight": "#5f8fd0",
    "writing": "#e8a33d",
    "verified": "#d9c64a",
    "identified": "#a9c95a",
    "released": "#8cbf8a",
    "first_boot": "#5aa9a0",
    "reachable": "#4fae6a",
    "capturing": "#e8a33d",
    "captured": "#d9c64a",
    "done": "#2f9e4f",
    "failed": "#d0443e",
}
_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8882; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .2rem; }
.when { opacity: .7; margin: 0 0 1rem; }
article { border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; margin: .8rem 0; }
header { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: baseline; }
header b { font-size: 1.05rem; } .state { padding: 0 .6rem; border-radius: 1rem; color: #fff; background: #2f9e4f; }
.state.failed { background: #d0443e; } .state.other { background: #777; } .figures { opacity: .75; margin-left: auto; }
.bar { display: flex; height: 1.5rem; border-radius: .35rem; overflow: hidden; margin: .7rem 0 .3rem; background: var(--soft); }
.bar i { min-width: 2px; } .legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; }
.legend i { display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem; margin-right: .3rem; }
.reason { background: #d0443e22; border-left: .3rem solid #d0443e; padding: .4rem .8rem; margin: .6rem 0;
  overflow-wrap: anywhere; }
.warning { border-left: .3rem solid #e8a33d; padding: .2rem .8rem; margin: .4rem 0; overflow-wrap: anywhere; }
.screens { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .7rem; margin-top: .8rem; }
figure { margin: 0; } img { width: 100%; border-radius: .3rem; background: #000; display: block; }
figcaption { font-size: .8rem; opacity: .75; }
"""


class Screens:
    """The screenshots of the machines, C(NAME/SECONDS.png), as far as a page may carry them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._left = LARGEST

    def last_within(self, machine: str, start: float, end: float) -> str:
        """Return the last screenshot of a stretch of time as a data URI, or nothing."""
        if not machine or "/" in machine or machine.startswith("."):
            return ""
        taken = sorted((float(path.stem), path) for path in (self._folder / machine).glob("*.png") if _is_number(path.stem))
        within = [path for at, path in taken if start <= at <= end]
        if not within:
            return ""
        picture = within[-1].read_bytes()
        if len(picture) > self._left:
            return ""
        self._left -= len(picture)
        return "data:image/png;base64," + base64.b64encode(picture).decode()


def render(runs: list[dict[str, Any]], screens: Screens) -> str:
    """Return the page.

    :param runs: What C(run.save) returns, the latest first.
    """
    body = "".join(_run(run, screens) for run in runs)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>reimage.lab report</title><style>{_STYLE}</style><h1>reimage.lab report</h1>{body}</html>\n"
    )


def _run(run: dict[str, Any], screens: Screens) -> str:
    machines = run["machines"]
    done = sum(machine["state"] == "done" for machine in machines)
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run["started"]))
    longest = max([_total(machine) for machine in machines] or [0.0]) or 1.0
    shown = "".join(_machine(machine, longest, screens) for machine in machines)
    return (
        f'<section><h2>{escape(str(run["playbook"]))}</h2><p class="when">{when}, {done} of {len(machines)} machines done</p>'
        f"{shown}</section>"
    )


def _machine(machine: dict[str, Any], longest: float, screens: Screens) -> str:
    state = str(machine["state"])
    kind = state if state in ("done", "failed") else "other"
    steps = machine["steps"]
    parts = [
        f'<article><header><b>{escape(machine["name"])}</b><span class="state {kind}">{escape(state)}</span>'
        f'<span>{escape(machine["image"])}</span><span class="figures">{escape(_figures(machine))}</span></header>'
    ]
    if machine["reason"]:
        parts.append(f'<p class="reason">{escape(machine["reason"])}</p>')
    parts += [f'<p class="warning">{escape(text)}</p>' for text in machine.get("warnings", [])]
    if steps:
        parts += [_bar(steps, longest), _legend(steps), _pictures(machine["name"], steps, screens)]
    return "".join([*parts, "</article>"])


def _bar(steps: list[dict[str, Any]], longest: float) -> str:
    pieces = "".join(
        f'<i style="width:{step["seconds"] / longest:.3%};background:{_colour(step)}" title="{escape(_text(step))}"></i>'
        for step in steps[:-1]
    )
    return f'<div class="bar">{pieces}</div>'


def _legend(steps: list[dict[str, Any]]) -> str:
    items = "".join(f'<span><i style="background:{_colour(step)}"></i>{escape(_text(step))}</span>' for step in steps[:-1])
    return f'<div class="legend">{items}</div>'


def _pictures(name: str, steps: list[dict[str, Any]], screens: Screens) -> str:
    figures = []
    for step in steps:
        # A state that is over at once may have no picture; the last one is looked at for a while longer.
        picture = screens.last_within(name, step["at"], step["at"] + (step["seconds"] or 15))
        if picture:
            figures.append(f'<figure><img alt="" src="{picture}"><figcaption>{escape(step["state"])}</figcaption></figure>')
    return f'<div class="screens">{"".join(figures)}</div>' if figures else ""


def _total(machine: dict[str, Any]) -> float:
    steps = machine["steps"]
    return float(steps[-1]["at"] - steps[0]["at"]) if steps else 0.0


def _figures(machine: dict[str, Any]) -> str:
    work, total = figures_in(machine["work"]), _total(machine)
    figures = [f"{total:.0f} s"] if total else ["nothing to do"]
    count, seconds = work.get("bytes_written", work.get("bytes_used")), work.get("seconds")
    if count is not None and seconds:
        figures.append(f"{count / MIB:.0f} MiB at {count / MIB / seconds:.0f} MiB/s")
    return ", ".join(figures)


def _text(step: dict[str, Any]) -> str:
    return f"{step['state']} {step['seconds']:.0f} s"


def _colour(step: dict[str, Any]) -> str:
    return COLOURS.get(step["state"], "#999999")


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
