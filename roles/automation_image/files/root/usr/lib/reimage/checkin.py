# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write who and where this machine is, for the boot server: ``checkin INTERFACE``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SENT = Path("/run/reimage/checkin.json")


def read(path: str) -> str:
    """Return a small file of the kernel, or nothing."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def parameters() -> dict[str, str]:
    """Return the kernel's command line."""
    return dict(word.split("=", 1) for word in read("/proc/cmdline").split() if "=" in word)


def output(*arguments: str) -> str:
    """Return what a program prints."""
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=30).stdout


def address(interface: str) -> str:
    """Return the address that DHCP gave."""
    shown = json.loads(output("ip", "-json", "-4", "address", "show", "dev", interface))
    return str(shown[0]["addr_info"][0]["local"])


def disks() -> list[dict[str, object]]:
    """Return the disks, as lsblk sees them."""
    rows = json.loads(output("lsblk", "--json", "--bytes", "--nodeps", "-o", "PATH,TYPE,SIZE,MODEL,SERIAL,WWN"))["blockdevices"]
    texts = ("model", "serial", "wwn")
    return [
        {"path": row["path"], "size": int(row["size"]), **{key: (row[key] or "").strip() for key in texts}}
        for row in rows
        if row["type"] == "disk" and row["size"]
    ]


def facts(interface: str, mac: str) -> dict[str, object]:
    """Return the check-in."""
    dmi = "/sys/class/dmi/id/"
    macs = {read(str(path / "address")) for path in Path("/sys/class/net").iterdir() if path.name != "lo"}
    return {
        "protocol": 1,
        "mac": mac,
        "macs": sorted(macs | {mac}),
        "address": address(interface),
        "host_keys": [" ".join(read("/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])],
        "uuid": read(dmi + "product_uuid").lower(),
        "serial": read(dmi + "product_serial"),
        "vendor": read(dmi + "sys_vendor"),
        "product": read(dmi + "product_name"),
        "firmware": "uefi" if Path("/sys/firmware/efi").exists() else "bios",
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cpus": os.cpu_count() or 1,
        "build": read("/etc/reimage-build"),
        "disks": disks(),
    }


def record(interface: str, mac: str) -> None:
    """Write the check-in: the same one again unless the address is another: a second, different one is refused."""
    text = read(str(SENT))
    if not text or json.loads(text)["address"] != address(interface):
        SENT.write_text(json.dumps(facts(interface, mac)))


def main() -> None:
    """Write it; main sends it."""
    record(sys.argv[1], parameters().get("reimage.mac") or read(f"/sys/class/net/{sys.argv[1]}/address"))


if __name__ == "__main__":
    main()
