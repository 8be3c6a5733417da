# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.command import (
    CommandError,
    background,
    complaint,
    run,
    wait_until,
)
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError, named


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (b"ntfsresize v2022.10.3 (libntfs-3g)\n 3.00 percent completed\r99.0 percent completed\rERROR: full\n", "ERROR: full"),
        (b"resize2fs 1.47.0 (5-Feb-2023)\nBegin pass 2\nRelocating blocks XX-- 40%\b\b\b\nresize2fs: No space\n",
         "Begin pass 2; resize2fs: No space"),
        (b"mkfs.fat: unrecognized option '--bla'\nUsage: mkfs.fat [OPTIONS]\n  -a  Disable alignment\n",
         "mkfs.fat: unrecognized option '--bla'"),
        (b"qemu-img: unrecognized option\nTry 'qemu-img --help' for more information\n", "qemu-img: unrecognized option"),
        (b"Usage: xfs_db [-x] device\n", ""),
        (b"\x1b[2J\x1b[31mCloning\x1b[0m\r    (12.00/100%)\r\x07Partclone fail\n", "Cloning; Partclone fail"),
        (b"Allocating group tables: 0/4\b\b\b   \b\b\bdone\nmke2fs: full\n", "Allocating group tables: 0/4; mke2fs: full"),
        (b"File descriptor 9 (/dev/null) leaked on pvck invocation. Parent PID 7: sh\n  No label\n  No label\n", "No label"),
        (b"the disk is 98% full\n", "the disk is 98% full"),
        (b"", ""),
        (b"\xff\n" + b"x" * 2000, "x" * 500),
    ],
)  # fmt: skip
def test_complaint_of_a_program_has_no_bars_pages_or_banners(output: bytes, told: str) -> None:
    assert complaint(output) == told


def test_program_that_complains_on_standard_output_only_is_heard() -> None:
    with pytest.raises(CommandError, match=r"failed with exit code 3: lost; gone$"):
        run(["sh", "-c", r"echo 50%; printf 'Usage: x\n' >&2; printf 'lost\ngone\n'; exit 3"])


def test_error_names_a_thing_as_people_know_it() -> None:
    with pytest.raises(ReimageError) as caught, named("/dev/loop1", "the disk"):
        raise CommandError("/dev/loop1 and /dev/loop12")
    assert str(caught.value) == "the disk and /dev/loop12"
    assert isinstance(caught.value, CommandError)


def test_program_speaks_english_on_a_machine_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANG", "LC_ALL", "LC_MESSAGES", "LANGUAGE"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    said = run(["sh", "-c", 'echo "$LC_ALL" "$LANGUAGE" "$HOME"']).stdout.decode().split(" ")
    assert said == ["C.UTF-8", "", os.environ["HOME"] + "\n"]


def test_program_beside_a_block_that_fails_leaves_nothing_running(tmp_path: Path) -> None:
    """Killed at once, timeout would leave its program behind."""
    started = tmp_path / "pid"
    command = ["timeout", "60", "sh", "-c", f"echo $$ >{started}; exec sleep 60"]
    with pytest.raises(ValueError, match="it failed"), background(command, stop=True):
        wait_until(lambda: started.exists() and started.stat().st_size > 0, 10, "the program")
        raise ValueError("it failed")

    def gone() -> bool:
        try:
            return Path(f"/proc/{started.read_text().strip()}/stat").read_text().rpartition(") ")[2].startswith("Z")
        except OSError:
            return True

    wait_until(gone, 5, "its end")
