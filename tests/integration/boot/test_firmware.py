# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PCs whose firmware boots from nginx and dnsmasq as the roles set them up, with Debian's signed loaders and kernel.

The demo has a PC with Secure Boot that boots by PXE and is reimaged; here are UEFI HTTP boot, and what must not start.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.boot.targets import arm
from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until
from ansible_collections.reimage.lab.plugins.module_utils.lab.pc import Definition, Pc

from .conftest import LOADERS, PROJECT, PROXY, WebServer, fetch_loaders, render

pytestmark = pytest.mark.firmware

NETWORK = PROJECT / "roles/virtual_lab/files/network"
PREFIX = f"fw-{os.getpid()}"
LAB = f"{PREFIX}-lab"
SERVER = "10.79.1.2"
TIMEOUT = 240  # a PC alone takes 20 s; a busy computer emulates slowly
PCS = {
    "http-secure": {"mac": "52:54:00:79:01:01", "secure_boot": True, "network_boot": "http"},
    "http-plain": {"mac": "52:54:00:79:01:02", "network_boot": "http"},
    "flipped": {"mac": "52:54:00:79:01:03", "secure_boot": True},
}


def kernel() -> Path:
    """Return the signed kernel of a Debian package."""
    folder = LOADERS.with_name("kernel")
    if not folder.exists():
        LOADERS.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=LOADERS.parent))
        depends = ["apt-cache", "depends", "--important", "linux-image-cloud-amd64"]
        said = subprocess.run(depends, capture_output=True, text=True, check=True).stdout
        name = re.findall(r"Depends: (linux-image-\S+)", said)[0]
        subprocess.run(["apt-get", "--quiet", "download", name], cwd=work, check=True, capture_output=True, timeout=120)
        (package,) = work.glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, work / "unpacked"], check=True)
        (found,) = work.glob("unpacked/boot/vmlinuz-*")
        (work / "boot").mkdir()
        found.rename(work / "boot/vmlinuz")
        shutil.rmtree(work / "unpacked")
        package.unlink()
        work.rename(folder)
    return folder / "boot/vmlinuz"


def make_disk(disk: Path, loaders: Path) -> None:
    """Make a disk that starts under Secure Boot, and says so."""
    esp = disk.with_suffix(".esp")
    for path, size in ((disk, 40 << 20), (esp, 36 << 20)):
        path.touch()
        os.truncate(path, size)
    script = esp.with_suffix(".cfg")
    script.write_text(f"echo '{disk.stem} started its own disk'\nsleep 600\n")
    table = b"label: gpt\nstart=2048, size=73728, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n"
    subprocess.run(["sfdisk", "--quiet", disk], input=table, check=True)
    subprocess.run(["mkfs.vfat", "-F", "32", esp], check=True, capture_output=True)
    subprocess.run(["mmd", "-i", esp, "::/EFI", "::/EFI/BOOT", "::/grub"], check=True)
    for source, target in (
        (loaders / "shimx64.efi", "EFI/BOOT/BOOTX64.EFI"),
        (loaders / "grubx64.efi", "EFI/BOOT/grubx64.efi"),
        (script, "grub/grub.cfg"),
        (script, "EFI/BOOT/grub.cfg"),
    ):
        subprocess.run(["mcopy", "-i", esp, source, f"::/{target}"], check=True)
    with esp.open("rb") as content, disk.open("r+b") as whole:
        whole.seek(1 << 20)
        shutil.copyfileobj(content, whole)


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    """A boot server at 10.79.1.2, beside a DHCP server that knows nothing of network boot."""
    folder = Path(tempfile.mkdtemp(prefix="reimage-firmware-", dir="/var/tmp"))
    folder.chmod(0o755)
    started: list[subprocess.Popen[bytes]] = []
    web = None
    try:
        for words in (
            ("up", PREFIX, folder, "lan"),
            ("address", PREFIX, "lan", f"{SERVER}/24"),
            ("machine", PREFIX, "dhcp", "lan=10.79.1.1/24"),
        ):
            subprocess.run([NETWORK, *words], check=True)
        (folder / "boot").mkdir()
        web = WebServer(folder, LAB, {"boot_server_address": SERVER})
        web.make_folders()
        tftp = web.layout.root / "tftp"
        (tftp / "grub").mkdir()
        web.start()
        made = fetch_loaders(tftp)
        assert made.returncode == 0, made.stderr
        variables = {
            "proxy_dhcp_root": str(web.layout.root),
            "proxy_dhcp_address": SERVER,
            "proxy_dhcp_subnets": ["10.79.1.0/24"],
            "proxy_dhcp_interfaces": ["lan"],
        }
        proxy = folder / "proxy.conf"
        render(PROXY, variables, dnsmasq_conf=proxy, grub_cfg=tftp / "grub/grub.cfg")
        options = [
            "--port=0",
            "--interface=eth0",
            "--dhcp-range=10.79.1.110,10.79.1.199,255.255.255.0",
            f"--dhcp-leasefile={folder}/leases",
        ]
        for namespace, words in ((f"{PREFIX}-dhcp", ["--conf-file=/dev/null", *options]), (LAB, [f"--conf-file={proxy}"])):
            words = [
                "ip",
                "netns",
                "exec",
                namespace,
                "dnsmasq",
                "--keep-in-foreground",
                "--user=root",
                "--log-facility=-",
                *words,
            ]
            started.append(subprocess.Popen(words, stderr=(folder / f"{namespace}.log").open("wb")))
        yield web
    finally:
        for process in started:
            process.terminate()
            process.wait(20)
        if web is not None:
            web.stop()
        subprocess.run([NETWORK, "down", PREFIX, folder], check=True)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pcs(server: WebServer) -> Iterator[dict[str, Pc]]:
    """The PCs, armed and switched on, all at once."""
    folder = server.folder / "pcs"
    folder.mkdir()
    good = server.layout.http / "vmlinuz"
    shutil.copyfile(kernel(), good)
    content = bytearray(good.read_bytes())
    content[len(content) // 2] ^= 1
    (server.layout.http / "flipped").write_bytes(content)
    for name, size in (("initrd.img", 3_000_000), ("site.img", 1000)):
        (server.layout.http / name).write_bytes(os.urandom(size))
    more = {"initrd": ["initrd.img", "site.img"], "arguments": ["console=ttyS0", "panic=0"]}
    targets = {name: {"kernel": name, **more} for name in ("vmlinuz", "flipped")}
    server.layout.configuration.write_text(json.dumps({"url": f"http://{SERVER}", "targets": targets}))
    made = {}
    try:
        for name, options in PCS.items():
            definition = Definition(name=name, namespace=LAB, firmware="uefi", memory=512, **options)  # type: ignore[arg-type]
            (folder / f"{name}.json").write_text(json.dumps(asdict(definition)))
            make_disk(folder / f"{name}.raw", server.layout.root / "tftp")
            subprocess.run([NETWORK, "tap", PREFIX, name, "lan"], check=True)
            arm(server.layout, definition.mac, "flipped" if name == "flipped" else "vmlinuz")
            made[name] = Pc(server.folder, name)
            made[name].start()
        yield made
    finally:
        for pc in made.values():
            if pc.running:
                pc.stop()


def wait_for(pc: Pc, *words: str) -> str:
    """Wait until a PC has said one of these, and return all that it said; it has nothing more to say."""
    log = pc.file("serial.log")

    def said() -> str:
        return log.read_text(errors="replace") if log.exists() else ""

    wait_until(lambda: any(word in said() for word in words), TIMEOUT, f"{pc.definition.name} to say {' or '.join(words)}")
    text = said()
    pc.stop()
    return text


def test_http_boot_starts_a_signed_kernel_under_secure_boot(pcs: dict[str, Pc], server: WebServer) -> None:
    said = wait_for(pcs["http-secure"], "secureboot: Secure boot", "started its own disk")
    assert "secureboot: Secure boot enabled" in said
    assert "EFI stub: Loaded initrd" in said
    assert re.search(r"Command line: .* reimage\.token=[0-9a-f]{32} reimage\.mac=52:54:00:79:01:01 ", said)


def test_http_boot_starts_it_without_secure_boot(pcs: dict[str, Pc], server: WebServer) -> None:
    said = wait_for(pcs["http-plain"], "secureboot: Secure boot", "started its own disk")
    assert "secureboot: Secure boot disabled" in said


def test_kernel_with_one_bit_flipped_is_refused_and_the_disk_is_started(pcs: dict[str, Pc], server: WebServer) -> None:
    said = wait_for(pcs["flipped"], "started its own disk", "secureboot: Secure boot")
    assert "bad shim signature" in said
    assert "flipped started its own disk" in said
    assert "secureboot:" not in said
