# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the table of what each Debian package costs into a document: C(prices.py PRICES_JSON IMAGE DOCUMENT)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROLE = Path(__file__).resolve().parents[2] / "roles/automation_image"
BEGIN, END = "<!-- prices: made by make bench-boot -->\n", "<!-- end of prices -->\n"
SHOWN = 100 << 10


def wanted() -> set[str]:
    """Return the packages that the role names itself."""
    firmware = [
        line for line in (ROLE / "defaults/main.yml").read_text().splitlines() if line.startswith("automation_image_firmware:")
    ]
    named = firmware[0].partition("[")[2].rstrip("]").split(", ")
    return {*(ROLE / "files/packages").read_text().split(), *named}


def table(prices: dict[str, dict[str, int]], image: Path) -> str:
    """Return the table, and the sizes of the files."""
    named = wanted()
    rows = {name: prices.get(name, {"bytes": 0, "packed": 0}) for name in [*prices, *sorted(named - {*prices})]}
    shown = {name: price for name, price in rows.items() if name in named or price["packed"] >= SHOWN}
    small = [price for name, price in rows.items() if name not in shown]
    shown[f"{len(small)} others"] = {key: sum(price[key] for price in small) for key in ("bytes", "packed")}
    lines = ["| package | in memory, KiB | compressed alone, KiB | |", "|---|---|---|---|"]
    for name, price in shown.items():
        lines.append(f"| {name} | {price['bytes'] >> 10} | {price['packed'] >> 10} | {'named' if name in named else ''} |")
    sizes = {name: (image / name).stat().st_size for name in ("vmlinuz", "initrd.img")}
    total = sum(sizes.values()) / (1 << 20)
    said = " and ".join(f"`{name}` {size / (1 << 20):.1f} MiB" for name, size in sizes.items())
    return f"\n{said}: {total:.1f} MiB.\n\n" + "\n".join(lines) + "\n\n"


def main() -> None:
    prices, image, document = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), Path(sys.argv[3])
    before, _begin, rest = document.read_text().partition(BEGIN)
    document.write_text(before + BEGIN + table(prices, image) + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
