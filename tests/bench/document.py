# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/benchmarks.md and its pictures, from what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MIB = 1 << 20
OURS, OTHERS = "#1f6feb", "#8b949e"
ONE_CORE = ", one core"

# What is measured, against what, and the ratio that is promised.
PROMISES = (
    ("Full deploy, checked by hash", "restore: ours", "restore: FOG", 1.8),
    ("Full deploy, against FOG as shipped", "restore: ours", "restore: FOG, as shipped", 4.0),
    ("Deploy, 5 % changed, against its full restore", "restore: ours, 5 % changed", "restore: FOG", 6.0),
    ("Deploy, nothing changed, against its full restore", "restore: ours, nothing changed", "restore: FOG", 7.0),
    ("Full deploy, against nothing but decoding and hashing", "restore: ours", "restore: nothing but decoding and hashing", 0.85),
    ("Capture", "capture: ours", "capture: FOG", 1.7),
    ("Capture, 5 % changed, against its full capture", "capture: ours, 5 % changed", "capture: FOG", 8.0),
)


def ratios(result: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return what is promised: its name, the ratio measured, and the ratio promised."""
    seconds = result["seconds"]
    return [(name, seconds[theirs] / seconds[ours], wanted) for name, ours, theirs, wanted in PROMISES]


def write(result: dict[str, Any], docs: Path) -> None:
    """Write the page and its pictures."""
    (docs / "images").mkdir(exist_ok=True)
    for kind in ("restore", "capture"):
        found = {name: value for name, value in result["seconds"].items() if not name.endswith(ONE_CORE)}
        rows = [(name.split(": ", 1)[1], value) for name, value in found.items() if name.startswith(kind)]
        rates = [(name, result["used"] / MIB / value) for name, value in rows]
        (docs / f"images/benchmark-{kind}.svg").write_text(bars(f"{kind}, MiB of used data per second", rates))
    (docs / "images/benchmark-scaling.svg").write_text(lines(result["scaling"]))
    (docs / "benchmarks.md").write_text(page(result))


def page(result: dict[str, Any]) -> str:
    """Return the text."""
    machine, used, stored = result["machine"], result["used"] / MIB, result["stored"]
    promised = "\n".join(
        f"| {name} | {got:.2f} × | {wanted} ×{'' if got >= wanted else ', **not met**'} |" for name, got, wanted in ratios(result)
    )
    rows = "\n".join(
        f"| {_cell(name)} | {value:.2f} | {result['spread'][name][0]:.2f} to {result['spread'][name][1]:.2f} | {used / value:.0f} |"
        for name, value in result["seconds"].items()
    )
    scaling = "\n".join(
        f"| {item['used'] / MIB:.0f} | "
        + " | ".join(f"{value:.2f}" for value in item["seconds"].values())
        + f" | {max(item['memory'].values()) / MIB:.0f} |"
        for item in result["scaling"]
    )
    seconds = result["seconds"]
    cores = "\n".join(
        f"| {name} | {one:.2f} | {seconds[name]:.2f} | {one / seconds[name]:.1f} × |"
        for name, one in ((name[: -len(ONE_CORE)], value) for name, value in seconds.items() if name.endswith(ONE_CORE))
    )
    names = [*result["scaling"][0]["seconds"], "our memory, MiB"] if result["scaling"] else []
    memory = ", ".join(f"{name} {value / MIB:.0f} MiB" for name, value in result["memory"].items())
    return f"""# Benchmarks

`make bench` made this page, and anybody can repeat it. It measures everything in one run, in turn, {result["repeat"]} times, and shows medians.
Source, target and store are in memory, so that no disk hides what the programs do. Only ratios within one run mean something: the
figures drift with the machine. This machine has {machine["cores"]} cores of {machine["processor"]}, Linux {machine["kernel"]}.

The master is an NTFS partition with {used:.0f} MiB used by the programs and libraries of a Linux machine. FOG and Clonezilla stand for
their own pipelines with the same partclone and zstd, as they ship them. partclone sleeps for whole seconds at its end. Only the rows "as shipped"
include this sleep; without it FOG and Clonezilla look better than they are. After every restore the used bytes of the target are hashed and compared
with the master's. The time for this does not count, but the time in which we read back our own writes does. "ours" restores onto a disk with other
data, and compares all of it first; a new disk, full of zeros, takes less.

| | measured | promised |
|---|---|---|
{promised}

Size in the store: {stored["ours 1"] / MIB:.0f} MiB, FOG's {stored["fog.zst"] / MIB:.0f} MiB ({stored["ours 1"] / stored["fog.zst"] * 100 - 100:+.1f} %).
Peak memory: {memory}.
5 % of the bytes changed are {result["chunks_changed"]["together"] * 100:.0f} % of the chunks if the files of an update stand together on
the disk. "scattered" is the same update on a disk where ntfs-3g spread them over {result["chunks_changed"]["scattered"] * 100:.0f} % of the chunks.
A deploy through a link shaped to 1 Gbit/s uses {result["link"].get("share", 0) * 100:.0f} % of it while it fetches and writes.

![Restoring](images/benchmark-restore.svg)

![Capturing](images/benchmark-capture.svg)

| | seconds | from, to | MiB/s |
|---|---|---|---|
{rows}

## How it scales

![Seconds by size](images/benchmark-scaling.svg)

| MiB used | {" | ".join(names)} |
|---|{"---|" * len(names)}
{scaling}

| | seconds on one core | on {machine["cores"]} | |
|---|---|---|---|
{cores}

Disks are not measured here, nor are many machines at once. One gigabit port of a server carries about 110 MB/s, whatever
the software.
"""


def _cell(name: str) -> str:
    return name.replace("|", r"\|")


def bars(title: str, rows: list[tuple[str, float]]) -> str:
    """Return horizontal bars as SVG."""
    most = max(value for _name, value in rows)
    height = 26 * len(rows) + 44
    parts = [_text(10, 22, title, "bold 15px")]
    for number, (name, value) in enumerate(rows):
        top = 36 + 26 * number
        width = max(2, value / most * 380)
        colour = OURS if name.startswith("ours") else OTHERS
        parts.append(_text(10, top + 15, name))
        parts.append(f'<rect x="200" y="{top}" width="{width:.0f}" height="20" fill="{colour}" rx="2"/>')
        parts.append(_text(206 + width, top + 15, f"{value:.0f}"))
    return _picture(660, height, parts)


def lines(scaling: list[dict[str, Any]]) -> str:
    """Return seconds by size as SVG."""
    if not scaling:
        return _picture(10, 10, [])
    most_x = max(item["used"] for item in scaling)
    most_y = max(value for item in scaling for value in item["seconds"].values())
    parts = [_text(10, 22, "seconds by MiB used", "bold 15px"), '<path d="M50 40V300H470" fill="none" stroke="#8b949e"/>']
    for item in scaling:
        parts.append(_text(50 + item["used"] / most_x * 400 - 14, 318, f"{item['used'] / MIB:.0f}"))
    for name in scaling[0]["seconds"]:
        points = [(50 + item["used"] / most_x * 400, 300 - item["seconds"][name] / most_y * 250) for item in scaling]
        colour = OURS if "ours" in name else OTHERS
        path = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(points[-1][0] + 8, points[-1][1] + 4, f"{name}, {scaling[-1]['seconds'][name]:.1f} s"))
    return _picture(760, 330, parts)


def _text(x: float, y: float, text: str, font: str = "13px") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" style="font:{font} sans-serif" fill="#57606a">{text.replace("&", "&amp;")}</text>'


def _picture(width: int, height: int, parts: list[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', *parts, "</svg>\n"])
