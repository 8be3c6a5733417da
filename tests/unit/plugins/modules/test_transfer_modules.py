# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wiring of the modules that import and export; what they do is tested with module_utils/imaging/foreign."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index, Region
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore
from ansible_collections.reimage.lab.plugins.modules import image_export, image_import

MIB = 1 << 20


def call(module: ModuleType, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        module.main()
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with C(lab/1)."""
    region = Region(1, 1 << 20, 1 << 20, "83", "", "", "ext4", "root", Extents([(0, 4096)]))
    mbr = bytes(446) + struct.pack("<4xB3xII", 0x83, 2048, 2048).ljust(64, b"\0") + b"\x55\xaa"
    index = Index(
        name="lab",
        version="1",
        created="2026-11-21T00:00:00+00:00",
        description="",
        disk_size=4 << 20,
        sector_size=512,
        label="dos",
        head=mbr.ljust(1 << 20, b"\0"),
        links=[],
        partitions=[region],
        bytes_used=4096,
    )
    (tmp_path / "store").mkdir()
    PathStore(tmp_path / "store").publish(index, {region.file: b""})
    return str(tmp_path / "store")


def test_version_that_exists_is_not_imported_again(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(image_import, capsys, store=store, name="lab", version="1", source="/nothing/here")
    assert (result["changed"], result["image"], result["bytes_used"]) == (False, "lab/1", 4096)


def test_check_mode_looks_at_the_source(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "disk.vhd"
    footer = struct.pack(">8s40xQ4xI", b"conectix", MIB, 2).ljust(512, b"\0")
    source.write_bytes(bytes(MIB) + footer)
    options = {"store": store, "name": "lab", "version": "2", "_ansible_check_mode": True}
    result = call(image_import, capsys, source=str(source), **options)
    assert (result["changed"], result["format"]) == (True, "vhd")
    source.write_bytes(bytes(MIB // 2) + footer)
    cut = call(image_import, capsys, source=str(source), **options)
    assert cut["failed"] and f"is truncated: it has {MIB // 2} bytes of {MIB}" in cut["msg"]
    missing = call(image_import, capsys, source=str(tmp_path / "nothing"), **options)
    assert missing["failed"] and "nothing does not exist" in missing["msg"]
    assert PathStore(Path(store)).versions("lab") == ["1"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_version_called_latest_is_refused(store: str, capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    options = {"store": store, "name": "lab", "version": "latest", "source": "/nothing/here"}
    result = call(image_import, capsys, **options, _ansible_check_mode=check_mode)
    assert result["failed"] and "cannot be called 'latest'" in result["msg"]


def test_destination_that_exists_is_left_alone(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    destination = tmp_path / "disk.raw"
    options = {"store": store, "name": "lab", "destination": str(destination), "format": "raw"}
    assert call(image_export, capsys, **options, _ansible_check_mode=True)["changed"]
    assert not destination.exists()
    destination.write_bytes(b"there")
    for check_mode in (False, True):
        result = call(image_export, capsys, **options, _ansible_check_mode=check_mode)
        assert (result["changed"], result["image"]) == (False, "lab/1")
    assert destination.read_bytes() == b"there"


def test_unknown_image(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = call(image_export, capsys, store=store, name="other", destination=str(tmp_path / "disk"), format="raw")
    assert result["failed"] and "no image 'other'" in result["msg"]
