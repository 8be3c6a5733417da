# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure how long automation takes from the request for its initramfs to its check-in: C(make bench-boot).

An emulated PC boots it through iPXE, as in the virtual lab, from a web server in this program. Its network is QEMU's own, so
that no root is needed and no DHCP server is waited for. QEMU's processor time is measured, too: on a busy
computer it tells more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MAC = "52:54:00:77:99:01"
FILES = ("vmlinuz", "initrd.img", "site.img")
TIMEOUT = 600


class Server(ThreadingHTTPServer):
    """The boot server of one PC. It notes when each file is asked for."""

    def __init__(self, image: Path, arguments: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.image = image
        self.arguments = arguments
        self.seen: dict[str, float] = {}
        self.computed: dict[str, float] = {}
        self.pc = 0
        self.checked_in = threading.Event()
        self.checkin = b""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def note(self, name: str) -> None:
        """Note that a file is asked for, if it is the first time."""
        if name not in self.seen:
            self.seen[name] = time.monotonic()
            fields = Path(f"/proc/{self.pc}/stat").read_text().rsplit(")", 1)[1].split()
            self.computed[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that iPXE leaves open when the kernel starts."""

    def script(self) -> bytes:
        """Return what iPXE is to do."""
        url = f"http://10.0.2.2:{self.server_port}"
        initrds = {f"initrd{number or ''}": name for number, name in enumerate(FILES[1:])}
        words = [
            *(f"initrd={name}" for name in initrds),
            f"reimage.url={url}",
            "reimage.token=0123456789abcdef",
            f"reimage.mac={MAC}",
        ]
        line = " ".join([*words, f"BOOTIF=01-{MAC.replace(':', '-')}", self.arguments])
        loaded = [f"initrd --name {name} {url}/{file}" for name, file in initrds.items()]
        lines = ["#!ipxe", f"kernel --name kernel {url}/vmlinuz {line}", *loaded, "boot"]
        return ("\n".join(lines) + "\n").encode()


class Handler(BaseHTTPRequestHandler):
    """Gives the files, and takes the check-in."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.server.note(name)
        body = (self.server.image / name).read_bytes() if name in FILES else self.server.script()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/checkin.json"):
            self.server.note("check-in")
            self.server.checkin = body
            self.server.checked_in.set()
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def boot(image: Path, arguments: str = "", options: tuple[str, ...] = ()) -> dict[str, float]:
    """Boot one PC from an image.

    :return: Seconds from the request for the initramfs to the check-in, and those of them in which QEMU computed.
    """
    server = Server(image, arguments)
    with tempfile.TemporaryDirectory(prefix="reimage-bench-") as name:
        disk = Path(name, "disk.raw")
        with disk.open("wb") as file:
            file.truncate(1 << 30)
        command = ["qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", "1024", "-smp", "1", "-display", "none", "-vga", "std"]
        command += ["-drive", f"if=none,id=disk,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=disk,bootindex=2"]
        command += [
            "-netdev",
            f"user,id=net,bootfile=http://10.0.2.2:{server.server_port}/boot.ipxe",
            "-serial",
            f"file:{name}/serial",
        ]
        command += ["-device", f"virtio-net-pci,netdev=net,mac={MAC},bootindex=1,ioeventfd=off,event_idx=off"]
        command += ["-device", "virtio-rng-pci", "-no-reboot", *options]
        with subprocess.Popen(command) as pc:
            server.pc = pc.pid
            try:
                if not server.checked_in.wait(TIMEOUT):
                    raise SystemExit(f"no check-in within {TIMEOUT} s; it had asked for: {', '.join(server.seen) or 'nothing'}")
            finally:
                pc.kill()
                server.shutdown()
                server.server_close()
    return {
        name: round(at["check-in"] - at["initrd.img"], 1)
        for name, at in (("seconds", server.seen), ("computed", server.computed))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, help="a folder with vmlinuz, initrd.img and site.img")
    parser.add_argument("--repeat", type=int, default=3, help="boots; the median counts")
    parser.add_argument("--most", type=float, default=20, help="seconds that it may take on an idle computer")
    options = parser.parse_args()
    runs = []
    for number in range(options.repeat):
        runs.append(boot(options.image))
        print(f"{number + 1}/{options.repeat}  {json.dumps(runs[-1])}  load {os.getloadavg()[0]:.1f}", flush=True)
    median = statistics.median(run["seconds"] for run in runs)
    print(f"from initramfs to check-in: {median:.1f} s, the median of {options.repeat}")
    raise SystemExit(median > options.most)


if __name__ == "__main__":
    main()
