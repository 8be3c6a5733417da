# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask a proxy-DHCP server, as firmware of some architecture does, what to boot; print its answer.

For the architectures that no emulator here has. Usage: C(pxe_client.py INTERFACE SERVER MAC CLASS), where CLASS is what firmware
sends as its vendor class, like C(PXEClient:Arch:00009:UNDI:003016). Prints C(no answer), or the file or URL.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

COOKIE = b"\x63\x82\x53\x63"
DISCOVER, REQUEST = 1, 3
MESSAGE_TYPE, VENDOR_OPTIONS, CLASS, ARCHITECTURE, UUID, BOOT_FILE = 53, 43, 60, 93, 97, 67
PXE_MENU, PXE_ITEM = 9, 71
BROADCAST = 0x8000
NO_ADDRESS = "0.0.0.0"  # noqa: S104 - sent, not listened on


def pack(options: dict[int, bytes]) -> bytes:
    return b"".join(bytes([code, len(value)]) + value for code, value in options.items()) + b"\xff"


def unpack(data: bytes) -> dict[int, bytes]:
    options = {}
    while data and data[0] != 255:
        if data[0] == 0:
            data = data[1:]
            continue
        options[data[0]] = data[2 : 2 + data[1]]
        data = data[2 + data[1] :]
    return options


class Client:
    def __init__(self, interface: str, server: str, mac: str, vendor_class: str) -> None:
        self.server, self.mac, self.vendor_class = server, bytes.fromhex(mac.replace(":", "")), vendor_class
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        self.socket.bind(("", 68))
        self.socket.settimeout(2)

    def ask(self, kind: int, to: tuple[str, int], address: str, more: dict[int, bytes]) -> dict[int, bytes] | None:
        """Send one message and return the options of the server's answer; the file of the header is option 67."""
        transaction = os.urandom(4)
        header = struct.pack(
            "!BBBB4sHH4s4s4s4s16s64s128s",
            *(1, 1, 6, 0, transaction, 0, 0 if address != NO_ADDRESS else BROADCAST),
            *(socket.inet_aton(address), b"", b"", b"", self.mac, b"", b""),
        )
        architecture = int(self.vendor_class.split(":")[2])
        options = {
            MESSAGE_TYPE: bytes([kind]),
            CLASS: self.vendor_class.encode(),
            ARCHITECTURE: struct.pack("!H", architecture),
            UUID: b"\0" + b"\1" * 16,
            **more,
        }
        self.socket.sendto(header + COOKIE + pack(options), to)
        try:
            while True:
                answer, sender = self.socket.recvfrom(2048)
                if sender[0] == self.server and answer[4:8] == transaction:
                    file = answer[108:236].rstrip(b"\0")
                    return {**unpack(answer[240:]), **({BOOT_FILE: file} if file else {})}
        except socket.timeout:
            return None

    def boot_file(self) -> str:
        offer = self.ask(DISCOVER, ("255.255.255.255", 67), NO_ADDRESS, {})
        if offer is None:
            return "no answer"
        if BOOT_FILE not in offer:
            # The firmware then asks the boot server itself, for the only item of the menu if there is one.
            menu = unpack(offer.get(VENDOR_OPTIONS, b"")).get(PXE_MENU, b"")
            item = {VENDOR_OPTIONS: pack({PXE_ITEM: menu[:2] + b"\0\0"})} if menu else {}
            offer = self.ask(REQUEST, (self.server, 4011), self.own_address(), item) or {}
        return offer.get(BOOT_FILE, b"nothing to boot").rstrip(b"\0").decode()

    def own_address(self) -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((self.server, 9))
            return str(probe.getsockname()[0])


if __name__ == "__main__":
    print(Client(*sys.argv[1:]).boot_file())
