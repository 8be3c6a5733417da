# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PCI devices of a machine, under the names that Windows gives them.

Sources: Microsoft, "Identifiers for PCI devices"; PCI-SIG, "PCI Code and ID Assignment Specification".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.hardware.errors import HardwareError

FOLDER = Path("/sys/bus/pci/devices")
_ID = re.compile(
    r"PCI\\VEN_(?P<vendor>[0-9A-F]{4})&DEV_(?P<device>[0-9A-F]{4})(?:&SUBSYS_(?P<subsystem>[0-9A-F]{8}))?"
    r"(?:&REV_(?P<revision>[0-9A-F]{2}))?(?:&CC_(?P<code>[0-9A-F]{6}))?",
    re.IGNORECASE,
)
# By class and subclass, else by class alone.
_CLASSES = {
    "00": "device of before there were classes",
    "01": "storage controller",
    "0101": "IDE controller",
    "0104": "RAID controller",
    "0106": "SATA controller",
    "0107": "SAS controller",
    "0108": "NVMe controller",
    "02": "network controller",
    "0200": "Ethernet controller",
    "0280": "wireless network controller",
    "03": "display controller",
    "04": "multimedia device",
    "0403": "audio device",
    "05": "memory controller",
    "06": "bridge",
    "0600": "host bridge",
    "0601": "ISA bridge",
    "0604": "PCI bridge",
    "07": "communication controller",
    "08": "system peripheral",
    "0805": "SD host controller",
    "09": "input device",
    "0A": "docking station",
    "0B": "processor",
    "0C": "serial bus controller",
    "0C03": "USB controller",
    "0C05": "SMBus controller",
    "0D": "wireless controller",
    "0E": "intelligent controller",
    "0F": "satellite communication controller",
    "10": "encryption controller",
    "11": "signal processing controller",
    "12": "processing accelerator",
}


@dataclass(frozen=True)
class PciDevice:
    """A PCI device, in hexadecimal digits, upper case.

    I(subsystem) has eight digits, the subsystem's device and then its vendor. I(code) has six: class, subclass and programming
    interface. Unknown fields are empty.
    """

    vendor: str
    device: str
    subsystem: str = ""
    revision: str = ""
    code: str = ""
    address: str = ""

    @property
    def ids(self) -> list[str]:
        """Every identifier under which Windows looks for a driver, the most specific first."""
        vendor, one = rf"PCI\VEN_{self.vendor}", rf"PCI\VEN_{self.vendor}&DEV_{self.device}"
        subsystem = f"{one}&SUBSYS_{self.subsystem}" if self.subsystem else ""
        found = [f"{subsystem}&REV_{self.revision}" if subsystem and self.revision else "", subsystem]
        found += [f"{one}&REV_{self.revision}" if self.revision else "", one]
        codes = [self.code, self.code[:4]] if self.code else []
        found += [f"{one}&REV_{self.revision}&CC_{self.code[:4]}" if self.revision and codes else ""]
        found += [f"{one}&CC_{code}" for code in codes] + [f"{vendor}&CC_{code}" for code in codes]
        found += [vendor, *(rf"PCI\CC_{code}" for code in codes)]
        return [name for name in found if name]

    @property
    def description(self) -> str:
        """The kind of device, in words."""
        return _CLASSES.get(self.code[:4]) or _CLASSES.get(self.code[:2]) or "device of an unknown class"


def pci_devices(folder: Path = FOLDER) -> list[PciDevice]:
    """Return the PCI devices of this machine, sorted by address."""
    return [_device(item) for item in sorted(folder.iterdir())] if folder.is_dir() else []


def from_id(name: str) -> PciDevice:
    r"""Return the device that Windows knows under I(name), such as C(PCI\VEN_8086&DEV_15BC&SUBSYS_86721043&REV_10).

    :param name: May end in C(&CC_) and the six digits of the class; Windows itself puts these into separate identifiers.
    :raises HardwareError: This is no such identifier.
    """
    found = _ID.fullmatch(name.strip())
    if not found:
        raise HardwareError(f"devices: {name!r} is not the identifier of a PCI device, such as PCI\\VEN_8086&DEV_15BC")
    return PciDevice(**{key: (text or "").upper() for key, text in found.groupdict().items()})


def _device(folder: Path) -> PciDevice:
    def digits(name: str, count: int) -> str:
        return f"{int((folder / name).read_text(encoding='ascii'), 16):0{count}X}"

    return PciDevice(
        digits("vendor", 4),
        digits("device", 4),
        digits("subsystem_device", 4) + digits("subsystem_vendor", 4),
        digits("revision", 2),
        digits("class", 6),
        folder.name,
    )
