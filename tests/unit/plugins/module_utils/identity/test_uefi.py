# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fallback path of an EFI system partition: filled from the loader that is there, and never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.identity.linux.uefi import ensure_fallback


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


@pytest.mark.parametrize(
    ("there", "copied"),
    [
        (
            ["debian/shimx64.efi", "debian/grubx64.efi"],
            {"grubx64.efi": "debian/grubx64.efi", "BOOTX64.EFI": "debian/shimx64.efi"},
        ),
        (["fedora/shimx64.efi"], {"BOOTX64.EFI": "fedora/shimx64.efi"}),
        (["debian/grubx64.efi"], {"BOOTX64.EFI": "debian/grubx64.efi"}),
        (["a/grubx64.efi", "b/shimx64.efi", "b/grubx64.efi"], {"grubx64.efi": "b/grubx64.efi", "BOOTX64.EFI": "b/shimx64.efi"}),
        (["debian/grubaa64.efi"], {"BOOTAA64.EFI": "debian/grubaa64.efi"}),
        (
            ["debian/grubia32.efi", "debian/grubx64.efi"],
            {"BOOTX64.EFI": "debian/grubx64.efi", "BOOTIA32.EFI": "debian/grubia32.efi"},
        ),
        (["debian/shimx64.efi", "BOOT/BOOTX64.EFI"], {}),
        (["Microsoft/grubx64.efi", "Microsoft/Boot/bootmgfw.efi"], {}),
        (["systemd/systemd-bootx64.efi"], {}),
        ([], {}),
    ],
)
def test_fallback(tmp_path: Path, there: list[str], copied: dict[str, str]) -> None:
    put(tmp_path, *(f"EFI/{name}" for name in there))
    before = contents(tmp_path)
    wanted = [f"EFI/BOOT/{name}" for name in copied]
    assert ensure_fallback(tmp_path, dry_run=True) == wanted
    assert contents(tmp_path) == before
    assert ensure_fallback(tmp_path) == wanted
    assert contents(tmp_path) == {**before, **{f"EFI/BOOT/{name}": f"EFI/{source}" for name, source in copied.items()}}
    assert ensure_fallback(tmp_path) == []
