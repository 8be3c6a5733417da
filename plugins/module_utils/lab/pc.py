# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A virtual PC: QEMU in the lab's namespace, with a power button and a screen."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run, wait_until
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.lab.errors import LabError
from ansible_collections.reimage.lab.plugins.module_utils.lab.qmp import Monitor

# Code and variables; with Microsoft's keys enrolled, for Secure Boot.
_OVMF = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")
_OVMF_SECURE = ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
_STOP_TIMEOUT = 20


@dataclass(frozen=True)
class Definition:
    """What a PC is made of. It is kept in C(pcs/NAME.json)."""

    name: str
    namespace: str
    mac: str
    firmware: str = "bios"
    secure_boot: bool = False
    memory: int = 1024
    accelerator: str = "tcg"
    serial: str = ""
    uuid: str = ""
    network_boot: str = "pxe"

    @property
    def ovmf(self) -> tuple[str, str]:
        """UEFI's code, and the variables that it begins with."""
        return _OVMF_SECURE if self.secure_boot else _OVMF


class Pc:
    """One PC below the folder of a lab. Its disk is C(pcs/NAME.raw)."""

    def __init__(self, root: Path, name: str) -> None:
        self._folder = root / "pcs"
        self._name = name
        path = self._folder / f"{name}.json"
        try:
            self.definition = Definition(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            known = ", ".join(sorted(item.stem for item in self._folder.glob("*.json"))) or "none: start the lab first"
            raise LabError(f"there is no PC {name!r} in the lab {root}; there is: {known}") from error

    def file(self, ending: str) -> Path:
        """Return one of its files, C(pcs/NAME.ENDING)."""
        return self._folder / f"{self._name}.{ending}"

    @property
    def running(self) -> bool:
        """Whether it is switched on."""
        try:
            pid = int(self.file("pid").read_text(encoding="ascii"))
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return False
        return str(self.file("qmp")).encode() in command

    def arguments(self) -> list[str]:
        """Return QEMU's command line: a PC that tries the network first, then its disk."""
        it = self.definition
        serial = it.serial or it.name
        arguments = ["qemu-system-x86_64", "-name", it.name, "-daemonize", "-pidfile", str(self.file("pid"))]
        machine = "q35" if it.firmware == "uefi" else "pc"  # iPXE's ROM hangs on an emulated q35 under SeaBIOS
        if it.secure_boot:  # the variables are the firmware's own: no system may write them
            machine += ",smm=on"
            arguments += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        arguments += ["-machine", f"{machine},accel={it.accelerator}", "-m", str(it.memory), "-smp", "1", "-rtc", "base=utc"]
        arguments += ["-display", "none", "-vga", "std", "-serial", f"file:{self.file('serial.log')}"]
        arguments += ["-qmp", f"unix:{self.file('qmp')},server=on,wait=off"]
        arguments += ["-drive", f"if=none,id=disk,format=raw,discard=unmap,file={self.file('raw')}"]
        arguments += ["-device", f"virtio-blk-pci,drive=disk,serial={serial},bootindex=2"]
        arguments += ["-netdev", f"tap,id=net,ifname={it.name},script=no,downscript=no"]
        rom = ",romfile=" if it.firmware == "uefi" else ""  # OVMF has a driver of its own
        # Emulated, a virtio card may miss a wake-up and be silent for good: it is told of every packet.
        card = f"virtio-net-pci,netdev=net,mac={it.mac},bootindex=1,ioeventfd=off,event_idx=off{rom}"
        arguments += ["-device", card, "-device", "virtio-rng-pci"]
        identity = ["type=1", "manufacturer=reimage.lab", "product=Virtual PC", f"serial={serial}"]
        arguments += ["-smbios", ",".join([*identity, f"uuid={it.uuid}"] if it.uuid else identity)]
        if it.firmware == "uefi":
            arguments += ["-drive", f"if=pflash,format=raw,readonly=on,file={it.ovmf[0]}"]
            arguments += ["-drive", f"if=pflash,format=raw,file={self.file('vars')}"]
            arguments += ["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"]  # it would wait for minutes
            if it.network_boot == "http":
                arguments += ["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"]
        return arguments

    def start(self) -> None:
        """Switch it on."""
        if not self.file("raw").exists():
            raise LabError(f"PC {self._name}: its disk {self.file('raw')} is missing: start the lab again")
        if self.definition.firmware == "uefi" and not self.file("vars").exists():
            shutil.copyfile(self.definition.ovmf[1], self.file("vars"))
        self.file("qmp").unlink(missing_ok=True)
        try:
            run(["nsenter", f"--net=/run/netns/{self.definition.namespace}", *self.arguments()], timeout=60)
        except CommandError as error:
            raise LabError(f"PC {self._name} does not start: {error}") from error

    def stop(self) -> None:
        """Cut its power, also if QEMU hangs and takes no commands any more."""
        pid = int(self.file("pid").read_text(encoding="ascii"))
        try:
            with Monitor(self.file("qmp")) as monitor:
                monitor.command("quit")
            wait_until(lambda: not self.running, _STOP_TIMEOUT, f"PC {self._name} to switch off")
        except ReimageError:
            with suppress(ProcessLookupError):  # it may have ended just now
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not self.running, _STOP_TIMEOUT, f"PC {self._name} to end after it was killed")

    def reset(self) -> None:
        """Press its reset button."""
        with Monitor(self.file("qmp")) as monitor:
            monitor.command("system_reset")

    def screenshot(self, path: Path) -> None:
        """Write what its screen shows as a PNG."""
        with Monitor(self.file("qmp")) as monitor:
            monitor.command("screendump", filename=str(path), format="png")
