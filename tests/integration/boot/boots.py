# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PCs that boot over a network of their own: a boot server as the roles configure it, a DHCP server, what stands in the way.

Run as a program it records what the tests of C(boot.diagnosis) decide on: C(python3 -m tests.integration.boot.boots FOLDER).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    import ansible_collections

    ansible_collections.__path__ = [
        str(Path(__file__).resolve().parents[3] / "var/collections/ansible_collections"),
        *ansible_collections.__path__,
    ]

from ansible_collections.reimage.lab.plugins.module_utils.boot.packets import filter_for
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import arm
from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until

from tests.integration.boot.conftest import PROJECT, WebServer, render

SERVER, DHCP, OTHER = "10.79.1.2", "10.79.1.3", "10.79.1.4"
SUBNET = "10.79.1.0/24"
URL = f"http://{SERVER}"
OVMF = "/usr/share/OVMF/OVMF"
TARGETS = {
    "automation": {"kernel": "probe/ipxe.lkrn", "initrd": "probe/initrd"},
    "broken": {"kernel": "probe/gone", "initrd": "probe/initrd"},
}


def mac(number: int) -> str:
    return f"52:54:00:79:00:{number:02x}"


class BootServer(WebServer):
    """The web server, where machines reach it."""

    address = SERVER


class Network:
    """A bridge with the servers, each in a namespace, and PCs on taps."""

    def __init__(self, folder: Path) -> None:
        prefix = f"boots-{os.getpid()}"
        self.folder = folder
        self.wire, self.server, self.dhcp_server, self.other = (f"{prefix}-{name}" for name in ("wire", "boot", "dhcp", "else"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log = folder / "dnsmasq.log"
        self.log.touch()

    def start(self) -> None:
        """Make the network, and start the web server and the DHCP server that knows nothing of network boot."""
        for namespace in (self.wire, self.server, self.dhcp_server, self.other):
            self._run("ip", "netns", "add", namespace)
            self._run("ip", "-n", namespace, "link", "set", "lo", "up")
        for words in ("link add lan type bridge", "link set lan up", "address add 10.79.1.1/24 dev lan"):
            self._run("ip", "-n", self.wire, *words.split())
        for number, (namespace, address) in enumerate(((self.server, SERVER), (self.dhcp_server, DHCP), (self.other, OTHER))):
            ends = ["netns", self.wire, "type", "veth", "peer", "name", "eth0", "netns", namespace]
            self._run("ip", "link", "add", f"server{number}", *ends)
            self._run("ip", "-n", self.wire, "link", "set", f"server{number}", "master", "lan", "up")
            self._run("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
            self._run("ip", "-n", namespace, "link", "set", "eth0", "up")
        (self.folder / "boot").mkdir()
        self.web = BootServer(self.folder, self.server, {"boot_server_address": SERVER})
        self.web.make_folders()
        self.web.start()
        self.layout = self.web.layout
        for name in ("undionly.kpxe", "snponly.efi", "ipxe.efi"):
            shutil.copy(f"/usr/lib/ipxe/{name}", self.layout.root / "tftp" / name)
        (self.layout.http / "probe").mkdir()
        shutil.copy("/usr/lib/ipxe/ipxe.lkrn", self.layout.http / "probe/ipxe.lkrn")
        (self.layout.http / "probe/gone").touch()
        (self.layout.http / "probe/initrd").write_text("#!ipxe\nshell\n")
        configuration = {"url": URL, "subnets": [SUBNET], "access_log": str(self.web.logs / "reimage.log"), "targets": TARGETS}
        self.layout.configuration.write_text(json.dumps(configuration))
        render(PROJECT / "roles/boot_server", {"boot_server_address": SERVER}, boot_ipxe=self.layout.http / "boot.ipxe")
        self._configuration = self.folder / "dnsmasq.conf"
        variables = {"root": str(self.layout.root), "address": SERVER, "url": URL, "subnets": [SUBNET], "interfaces": ["eth0"]}
        render(
            PROJECT / "roles/proxy_dhcp",
            {f"proxy_dhcp_{name}": value for name, value in variables.items()},
            dnsmasq_conf=self._configuration,
        )

    def stop(self) -> None:
        for process in reversed(self._processes):
            self.end(process)
        with suppress(AttributeError):
            self.web.stop()
        for namespace in (self.wire, self.server, self.dhcp_server, self.other):
            subprocess.run(["ip", "netns", "delete", namespace], check=False)

    def serve_addresses(self, *more: str) -> subprocess.Popen[bytes]:
        """Start the DHCP server."""
        options = ["--dhcp-range=10.79.1.110,10.79.1.199,255.255.255.0", f"--dhcp-leasefile={self.folder}/leases", *more]
        return self._dnsmasq(self.dhcp_server, "--conf-file=/dev/null", "--port=0", "--interface=eth0", *options)

    def answer(self) -> subprocess.Popen[bytes]:
        """Start our own dnsmasq."""
        return self._dnsmasq(self.server, f"--conf-file={self._configuration}", f"--log-facility={self.log}")

    def answer_elsewhere(self, *macs: str) -> subprocess.Popen[bytes]:
        """Start somebody else's PXE server for some machines."""
        root = self.folder / "elsewhere"
        root.mkdir(exist_ok=True)
        shutil.copy("/usr/lib/ipxe/undionly.kpxe", root)
        options = ["--dhcp-range=10.79.1.0,proxy", "--dhcp-ignore=tag:!known", "--enable-tftp", f"--tftp-root={root}"]
        options += [f"--dhcp-host={mac}" for mac in macs]
        service = "--pxe-service=x86PC,elsewhere,undionly.kpxe"
        return self._dnsmasq(self.other, "--conf-file=/dev/null", "--port=0", "--interface=eth0", service, *options)

    def block(self, *rules: str) -> None:
        """Drop packets on their way through the switch, by rules of nftables."""
        dropped = "\n".join(f"{rule} drop" for rule in rules)
        text = f"table bridge way {{\nchain forward {{\ntype filter hook forward priority 0;\n{dropped}\n}}\n}}\n"
        self._run("ip", "netns", "exec", self.wire, "nft", "-f", "-", input=text.encode())

    @contextmanager
    def captured(self, path: Path) -> Iterator[None]:
        """Capture what reaches the boot server, as the module does."""
        words = ["tcpdump", "-i", "any", "-n", "-p", "-U", "-Z", "root", "-s", "600", "-w", str(path), filter_for(80)]
        tcpdump = self._spawn(self.server, *words)
        wait_until(lambda: path.exists() and path.stat().st_size > 0, 20, "tcpdump to begin")
        yield
        self.end(tcpdump)

    def pc(self, number: int, firmware: str = "bios") -> subprocess.Popen[bytes]:
        """Switch a PC on, which tries the network first, then its disk; C(firmware) is bios, uefi or secure."""
        name = f"pc{number}"
        self._run("ip", "-n", self.wire, "tuntap", "add", name, "mode", "tap")
        self._run("ip", "-n", self.wire, "link", "set", name, "master", "lan", "up")
        disk = self._disk(name, firmware)
        words = ["qemu-system-x86_64", "-name", name, "-m", "256", "-smp", "1", "-display", "none", "-vga", "std"]
        words += ["-serial", f"file:{self.folder}/{name}.serial", "-monitor", "none", "-device", "virtio-rng-pci"]
        words += ["-drive", f"if=none,id=disk,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=disk,bootindex=2"]
        words += ["-netdev", f"tap,id=net,ifname={name},script=no,downscript=no"]
        card = f"virtio-net-pci,netdev=net,mac={mac(number)},bootindex=1,ioeventfd=off,event_idx=off"
        if firmware == "bios":
            words += ["-machine", "pc,accel=tcg", "-device", card]
            return self._spawn(self.wire, *words)
        secure = firmware == "secure"
        variables = self.folder / f"{name}.vars"
        shutil.copy(f"{OVMF}_VARS_4M.ms.fd" if secure else f"{OVMF}_VARS_4M.fd", variables)
        code = f"{OVMF}_CODE_4M.secboot.fd" if secure else f"{OVMF}_CODE_4M.fd"
        words += ["-machine", f"q35,accel=tcg{',smm=on' if secure else ''}", "-device", f"{card},romfile="]
        words += ["-global", "driver=cfi.pflash01,property=secure,value=on"] if secure else []
        words += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"]
        words += ["-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
        words += ["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"]
        return self._spawn(self.wire, *words)

    def started_disk(self, number: int) -> bool:
        """Whether a PC has started its own disk."""
        serial = self.folder / f"pc{number}.serial"
        said = serial.read_text(errors="replace") if serial.exists() else ""
        return re.search(r'started its own disk|starting Boot\w+ "UEFI Misc Device"', said) is not None

    def journal(self) -> list[str]:
        """Return what our dnsmasq said, as journalctl shows it with C(--output=short-unix)."""
        year = time.strftime("%Y", time.gmtime())
        lines = []
        for line in self.log.read_text(errors="replace").splitlines():
            if "sent size:" in line:
                continue  # every option of every answer
            at = time.mktime(time.strptime(f"{year} {line[:15]}", "%Y %b %d %H:%M:%S"))
            lines.append(f"{at:.6f} boot-server {line[16:]}")
        return lines

    def requests(self) -> list[str]:
        return (self.web.logs / "reimage.log").read_text().splitlines()

    def on_wire(self, *words: str) -> None:
        """Run a program in the machines' network."""
        subprocess.run(["ip", "netns", "exec", self.wire, *words], check=False, capture_output=True, timeout=60)

    def beside(self, *words: str) -> None:
        """Run a program in the machines' network until the network is taken away."""
        self._spawn(self.wire, *words)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _disk(self, name: str, firmware: str) -> Path:
        """Make a disk that says that it was started; under UEFI the firmware says so."""
        disk = self.folder / f"{name}.raw"
        if firmware == "bios":
            script = PROJECT / "roles/virtual_lab/files/disk"
            self._run(str(script), "message", str(disk.with_suffix("")), "0", "/nonexistent", stdout=subprocess.DEVNULL)
            return disk
        disk.touch()
        os.truncate(disk, 64 << 20)
        self._run("mformat", "-i", str(disk), "-F", "::")
        self._run("mmd", "-i", str(disk), "::/EFI", "::/EFI/BOOT")
        self._run("mcopy", "-i", str(disk), "/usr/lib/ipxe/snponly.efi", "::/EFI/BOOT/BOOTX64.EFI")
        return disk

    def _dnsmasq(self, namespace: str, *options: str) -> subprocess.Popen[bytes]:
        process = self._spawn(namespace, "dnsmasq", "--keep-in-foreground", "--user=root", "--pid-file=", *options)
        asked = ["ip", "netns", "exec", namespace, "ss", "-Hlnu", "sport = 67"]
        wait_until(lambda: bool(subprocess.run(asked, capture_output=True, check=True).stdout), 10, "dnsmasq to listen")
        return process

    def _spawn(self, namespace: str, *words: str) -> subprocess.Popen[bytes]:
        command = ["ip", "netns", "exec", namespace, *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        return process

    @staticmethod
    def _run(*words: str, **options: Any) -> None:
        subprocess.run(words, check=True, timeout=30, **options)


@contextmanager
def network() -> Iterator[Network]:
    """Return a network with a web server, and with no DHCP so far."""
    folder = Path(tempfile.mkdtemp(prefix="reimage-boots-", dir="/var/tmp"))
    folder.chmod(0o755)
    made = Network(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def record(folder: Path) -> None:
    """Boot PCs of every kind, and keep what was captured and logged of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with network() as it:
        it.serve_addresses(f"--dhcp-host={mac(5)},ignore")
        ours = it.answer()
        for number in (2, 4, 5, 6, 8, 9, 10, 11, 12):
            arm(it.layout, mac(number), "broken" if number == 4 else "automation")
        arm(it.layout, mac(3), "automation")
        it.layout.script(mac(3)).unlink()  # as if it were disarmed just now
        (it.layout.http / "probe/gone").unlink()
        it.answer_elsewhere(mac(6), mac(7))
        high = f"ip saddr {SERVER} udp sport 1024-65535"
        it.block(
            f"ether saddr {mac(10)} udp dport 69",
            f"ether daddr {mac(11)} udp sport != 4011 {high}",
            f"ether saddr {mac(12)} tcp dport 80",
        )
        with it.captured(folder / "capture.pcap"):
            for group in (
                [(1, "bios"), (2, "bios"), (3, "bios"), (4, "bios")],
                [(5, "bios"), (6, "bios"), (7, "bios"), (12, "bios")],
                [(8, "uefi"), (9, "secure")],
                [(10, "uefi"), (11, "uefi")],
            ):
                started = time.time()
                pcs = [it.pc(number, firmware) for number, firmware in group]
                time.sleep(60 if group[0][1] == "bios" else 110)
                for pc in pcs:
                    it.end(pc)
                print(group, round(time.time() - started), flush=True)
            it.on_wire("ip", "link", "add", "link", "lan", "name", "plain", "address", mac(13), "type", "macvlan")
            it.on_wire("ip", "link", "set", "plain", "up")
            it.on_wire("busybox", "udhcpc", "-i", "plain", "-n", "-q", "-t", "2", "-T", "1", "-s", "/bin/true")
            it.end(ours)
            arm(it.layout, mac(14), "automation")
            pc = it.pc(14)
            time.sleep(45)
            it.end(pc)
        (folder / "journal").write_text(hide(it, "\n".join(it.journal())) + "\n")
        (folder / "requests").write_text(hide(it, "\n".join(it.requests())) + "\n")


def hide(it: Network, text: str) -> str:
    """Leave out where this computer had its temporary files."""
    return re.sub(re.escape(str(it.folder)), "/srv/reimage", text)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
