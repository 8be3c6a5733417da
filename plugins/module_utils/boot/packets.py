# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bounded capture of what network boots send, and what is in it: DHCP, the beginnings of TFTP, and of connections.

Everybody in the network may send anything, so a packet that is not what it should be is left out.
"""

from __future__ import annotations

import ipaddress
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Callable, Iterator

from ansible_collections.reimage.lab.plugins.module_utils.boot.errors import BootError
from ansible_collections.reimage.lab.plugins.module_utils.command import background, require, wait_until
from ansible_collections.reimage.lab.plugins.module_utils.untrusted import printable

MOST_PACKETS = 5000
MOST_BYTES = 600  # of each packet
_LARGEST = MOST_PACKETS * (MOST_BYTES + 16) + 24
_COOKIE = b"\x63\x82\x53\x63"
_DHCP_PORTS = {67, 68, 4011}
_TYPES = {1: "discover", 2: "offer", 3: "request", 4: "decline", 5: "ack", 6: "nak", 7: "release", 8: "inform"}
# By the number of pcap's link type: how long its header is, and where in it the protocol stands.
_LINKS = {1: (14, 12), 113: (16, 14), 276: (20, 0)}


@dataclass(frozen=True)
class Dhcp:
    """A message of DHCP. C(boots) says whether it is about a network boot; C(file) is what a server says to boot."""

    at: float
    source: str
    mac: str
    type: str
    boots: bool
    uefi: bool
    file: str
    address: str


@dataclass(frozen=True)
class Tftp:
    """A request for a file by TFTP, or an error of either side with its text."""

    at: float
    source: str
    error: bool
    text: str


@dataclass(frozen=True)
class Knock:
    """The first packet of a connection."""

    at: float
    source: str


@dataclass
class Capture:
    """What a capture file holds."""

    dhcp: list[Dhcp] = field(default_factory=list)
    tftp: list[Tftp] = field(default_factory=list)
    knocks: list[Knock] = field(default_factory=list)


def filter_for(port: int) -> str:
    """Return which packets tcpdump is to take; I(port) is that of the web server.

    DHCP and proxy-DHCP; TFTP without its blocks of data, which are many; and the first packet of each connection.
    """
    udp = "udp port 67 or udp port 68 or udp port 4011 or udp port 69 or (udp[8:2] = 5 and udp[10:2] < 9)"
    return f"{udp} or (tcp port {port} and tcp[13] & 18 = 2)"


@contextmanager
def capturing(seconds: float, port: int) -> Iterator[Callable[[], Capture]]:
    """Capture beside the block, for some seconds at most; it yields a function that reads what was captured so far.

    :param port: That of the web server.
    :raises CommandError: There is no tcpdump here, or it cannot capture.
    """
    require("tcpdump", "see what a machine sends")
    with TemporaryDirectory(prefix="reimage-diagnosis-") as folder:
        file = Path(folder) / "capture.pcap"  # Debian's AppArmor lets tcpdump write this name in any folder
        # -Z: it would give up root for a user who may not write here. It only writes; this reads.
        command = ["timeout", "--signal=INT", f"{seconds:.0f}", "tcpdump", "-i", "any", "-n", "-p", "-U", "-Z", "root"]
        bounds = ["-c", str(MOST_PACKETS), "-s", str(MOST_BYTES), "-w", str(file)]
        with background([*command, *bounds, filter_for(port)], timeout=10, stop=True) as tcpdump:
            wait_until(lambda: _has_begun(file) or tcpdump.poll() is not None, 20, "tcpdump to begin")
            if not _has_begun(file):
                raise BootError("tcpdump cannot capture here: see what `tcpdump -i any` says on the boot server")
            yield lambda: read_capture(file.read_bytes())


def _has_begun(capture: Path) -> bool:
    return capture.exists() and capture.stat().st_size > 0


def read_capture(data: bytes) -> Capture:
    """Return what a file in pcap's format holds. Its last packet may be half written."""
    found = Capture()
    magic = data[:4]
    if magic not in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4"):
        raise BootError("tcpdump wrote something that is not a capture")
    order = "<" if magic == b"\xd4\xc3\xb2\xa1" else ">"
    (link,) = struct.unpack(f"{order}I", data[20:24])
    if link & 0xFFFF not in _LINKS:
        raise BootError(f"tcpdump wrote a capture of link type {link}, which is not known here")
    offset = 24
    while offset + 16 <= min(len(data), _LARGEST):
        seconds, micros, length, _whole = struct.unpack(f"{order}IIII", data[offset : offset + 16])
        offset += 16
        with suppress(ValueError, IndexError, struct.error):  # not what it should be, or cut
            _packet(found, seconds + micros / 1e6, data[offset : offset + length], *_LINKS[link & 0xFFFF])
        offset += length
    return found


def _packet(found: Capture, at: float, frame: bytes, header: int, protocol: int) -> None:
    kind = frame[protocol : protocol + 2]
    if kind == b"\x81\x00":  # a VLAN's tag
        header, kind = header + 4, frame[protocol + 4 : protocol + 6]
    packet = frame[header:]
    if kind != b"\x08\x00" or packet[0] >> 4 != 4 or int.from_bytes(packet[6:8], "big") & 0x1FFF:
        return
    source = str(ipaddress.IPv4Address(packet[12:16]))
    inner = packet[(packet[0] & 15) * 4 :]
    if packet[9] == 6:
        found.knocks.append(Knock(at, source))
        return
    ports = set(struct.unpack("!HH", inner[:4]))
    payload = inner[8:]
    if ports & _DHCP_PORTS and payload[236:240] == _COOKIE:
        found.dhcp.append(_dhcp(at, source, payload))
    elif payload[:2] in (b"\0\1", b"\0\5"):
        error = payload[1] == 5
        text = payload[4 if error else 2 :].split(b"\0")[0]
        found.tftp.append(Tftp(at, source, error, printable(text.decode(errors="replace"), 200)))


def _dhcp(at: float, source: str, payload: bytes) -> Dhcp:
    options = dict(_options(payload[240:]))
    file = options.get(67) or payload[108:236]
    vendor = options.get(60, b"")
    address = options.get(50) or payload[12:16]
    return Dhcp(
        at,
        source,
        mac=":".join(f"{byte:02x}" for byte in payload[28:34]),
        type=_TYPES.get(options.get(53, b"\0")[0], "other"),
        boots=vendor[:9] == b"PXEClient" or vendor[:10] == b"HTTPClient",
        uefi=int.from_bytes(options.get(93, b"")[:2], "big") > 0,
        file=printable(file.split(b"\0")[0].decode(errors="replace"), 200),
        address=str(ipaddress.IPv4Address(address)) if any(address[:4]) and len(address) == 4 else "",
    )


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 1 < len(data) and data[place] != 255:
        if data[place] == 0:
            place += 1
            continue
        yield data[place], data[place + 2 : place + 2 + data[place + 1]]
        place += 2 + data[place + 1]
