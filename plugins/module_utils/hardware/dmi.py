# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names that a machine's firmware gives it (DMI). They are untrusted: compare them, never make them part of a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

FOLDER = Path("/sys/class/dmi/id")
_LONGEST = 256


@dataclass(frozen=True)
class Model:
    """The names of a machine, the most telling ones first; empty where it has none."""

    vendors: Sequence[str] = ()
    products: Sequence[str] = ()
    skus: Sequence[str] = ()

    def __str__(self) -> str:
        return ", ".join(
            f"{what} {' or '.join(map(repr, names)) or 'unknown'}"
            for what, names in (("vendor", self.vendors), ("product", self.products), ("sku", self.skus))
        )


def model(folder: Path = FOLDER) -> Model:
    """Return the names of this machine.

    Manufacturers disagree on the field that names a model. Lenovo's C(product_name) is a number and its C(product_version) the
    name. HP knows its models by C(board_name), Dell by C(product_sku). A mainboard that was sold alone has only C(board_*).
    """
    return Model(
        _texts(folder, "sys_vendor", "board_vendor"),
        _texts(folder, "product_name", "product_version", "board_name"),
        _texts(folder, "product_sku", "board_name"),
    )


def _texts(folder: Path, *names: str) -> list[str]:
    found = []
    for name in names:
        try:
            found.append((folder / name).read_text(encoding="utf-8", errors="replace").strip()[:_LONGEST])
        except OSError:
            continue
    return list(dict.fromkeys(filter(None, found)))
