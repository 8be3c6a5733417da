# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sysfs says of a machine, under the names that Windows has for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.hardware.dmi import Model, model
from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError
from ansible_collections.reimage.lab.plugins.module_utils.hardware.pci import PciDevice, from_id, pci_devices


def test_device_as_sysfs_shows_it(tmp_path: Path) -> None:
    folder = tmp_path / "0000:00:1f.6"
    folder.mkdir()
    for name, text in {
        "vendor": "0x8086",
        "device": "0x15bc",
        "subsystem_vendor": "0x1043",
        "subsystem_device": "0x8672",
        "class": "0x020000",
        "revision": "0x10",
    }.items():
        (folder / name).write_text(f"{text}\n")
    (device,) = pci_devices(tmp_path)
    assert device == PciDevice("8086", "15BC", "86721043", "10", "020000", "0000:00:1f.6")
    assert device.description == "Ethernet controller"
    assert device.ids == [
        r"PCI\VEN_8086&DEV_15BC&SUBSYS_86721043&REV_10",
        r"PCI\VEN_8086&DEV_15BC&SUBSYS_86721043",
        r"PCI\VEN_8086&DEV_15BC&REV_10",
        r"PCI\VEN_8086&DEV_15BC",
        r"PCI\VEN_8086&DEV_15BC&REV_10&CC_0200",
        r"PCI\VEN_8086&DEV_15BC&CC_020000",
        r"PCI\VEN_8086&DEV_15BC&CC_0200",
        r"PCI\VEN_8086&CC_020000",
        r"PCI\VEN_8086&CC_0200",
        r"PCI\VEN_8086",
        r"PCI\CC_020000",
        r"PCI\CC_0200",
    ]
    assert from_id(f"{device.ids[0]}&CC_020000").ids == device.ids


def test_machine_without_pci(tmp_path: Path) -> None:
    assert pci_devices(tmp_path / "nothing") == []


@pytest.mark.parametrize(("code", "said"), [("010802", "NVMe controller"), ("0C8000", "serial bus"), ("FFFF00", "unknown class")])
def test_description(code: str, said: str) -> None:
    assert said in PciDevice("1AF4", "1000", code=code).description


@pytest.mark.parametrize("name", ["", r"USB\VID_046D&PID_C52B", r"PCI\VEN_8086", r"PCI\VEN_8086&DEV_15BC&EXTRA"])
def test_what_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(HardwareError, match="not the identifier of a PCI device"):
        from_id(name)


def test_model(tmp_path: Path) -> None:
    for name, text in {
        "sys_vendor": "LENOVO\n",
        "board_vendor": "LENOVO\n",
        "product_name": "20XWS0AB00\n",
        "product_version": "ThinkPad X1 Carbon Gen 9\n",
        "product_sku": "x" * 5000,
        "board_name": " \n",
    }.items():
        (tmp_path / name).write_text(text)
    assert model(tmp_path) == Model(["LENOVO"], ["20XWS0AB00", "ThinkPad X1 Carbon Gen 9"], ["x" * 256])
    assert model(tmp_path / "nothing") == Model([], [], [])
    assert str(model(tmp_path / "nothing")) == "vendor unknown, product unknown, sku unknown"
