# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether this machine has nothing to wait for: it succeeds if the machine is not armed any more and nobody works on it.

A machine that starts its disk must not come back here, so the boot server has to say two things: that it takes nothing with this
token, and that the machine's boot script does not have it. A disk that was worked on may have no identity yet, so it is not to be
started; but a machine that is armed anew comes back, and a run waits for it.
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
    return all(status == 404 or (status == 200 and token not in script) for status, script in scripts(url, card))


def armed_anew(url: str, card: str) -> bool:
    """Whether the boot server would start this machine with a token."""
    return any(status == 200 and "reimage.token=" in script for status, script in scripts(url, card))


def scripts(url: str, card: str) -> list[tuple[int, str]]:
    """Return the answers for this machine's boot scripts, one for each loader."""
    return [answer(f"{url}/boot/machines/{name}") for name in (f"{card}.ipxe", f"{card.replace('-', ':')}.grub")]


def logged_in() -> bool:
    """Whether somebody is connected by SSH, or has a shell on the console."""
    connected = any(SSH_IS_CONNECTED.search(table.read_text()) for table in (PROC / "net").glob("tcp*"))  # tcp6 may be missing
    return connected or on_console()


def free(url: str, card: str) -> bool:
    """Whether a restart of this machine, which is not armed with its token any more, disturbs nobody."""
    return not logged_in() and (not (RUN / "progress.json").exists() or armed_anew(url, card))


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
    """Succeed if the machine is to restart."""
    given = dict(word.split("=", 1) for word in (PROC / "cmdline").read_text().split() if "=" in word)
    url, token, card = given.get("reimage.url"), given.get("reimage.token"), given.get("BOOTIF", "")[3:]
    sys.exit(0 if url and token and card and disarmed(url, token, card) and free(url, card) else 1)


if __name__ == "__main__":
    main()
