# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether this machine has nothing to wait for: it succeeds if the machine is not armed any more and nobody works on it.

A machine that starts its disk must not come back here, so the boot server has to say two things: that it takes nothing with this
token, and that the machine's boot script does not have it.
"""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

PROC = Path("/proc")
RUN = Path("/run/reimage")
LARGEST_SCRIPT = 1 << 16
SECOND_CONSOLE = 4 << 8 | 2  # the number of tty2
SSH_IS_CONNECTED = re.compile(r"^ *\d+: [0-9A-F]+:0016 [0-9A-F]+:[0-9A-F]{4} 01 ", re.MULTILINE)


def answer(url: str) -> tuple[int, str]:
    """Return status and body of what the boot server answers; the status is 0 if it does not."""
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.status, response.read(LARGEST_SCRIPT).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def disarmed(url: str, token: str, card: str) -> bool:
    """Whether the boot server has closed the token, and would not start this machine with it again."""
    if answer(f"{url}/checkin/{token}/open")[0] != 404:
        return False
    scripts = [answer(f"{url}/boot/machines/{name}") for name in (f"{card}.ipxe", f"{card.replace('-', ':')}.grub")]
    return all(status == 404 or (status == 200 and token not in script) for status, script in scripts)


def worked_on() -> bool:
    """Whether a disk of this machine was worked on, or somebody is logged in."""
    connected = any(SSH_IS_CONNECTED.search(table.read_text()) for table in (PROC / "net").glob("tcp*"))  # tcp6 may be missing
    return (RUN / "progress.json").exists() or connected or on_console()


def on_console() -> bool:
    """Whether somebody has a shell on the second console."""
    for path in PROC.glob("[0-9]*/stat"):
        try:
            name, _end, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # it has ended meanwhile
        if int(rest.split()[4]) == SECOND_CONSOLE and name != "sulogin":
            return True
    return False


def main() -> None:
    """Succeed if the machine is to start its own disk."""
    given = dict(word.split("=", 1) for word in (PROC / "cmdline").read_text().split() if "=" in word)
    url, token, card = given.get("reimage.url"), given.get("reimage.token"), given.get("BOOTIF", "")[3:]
    sys.exit(0 if url and token and card and disarmed(url, token, card) and not worked_on() else 1)


if __name__ == "__main__":
    main()
