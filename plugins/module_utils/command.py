# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one way in which this project runs other programs: an argument list, never a shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import Callable, Iterator, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError

_LONGEST_COMPLAINT = 500
# Callers read what dumpe2fs, xfs_logprint and others say, which these translate. LANGUAGE would win over C.UTF-8.
_ENGLISH = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
# What moves a terminal's cursor, and what ends a line or draws one again.
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[^\[])|[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
_BREAK = re.compile(r"[\r\n\v\f\b]+")
_USAGE = re.compile(r"usage:|try ['`\"]?[\w.-]{1,40} -|\[?options\]?:", re.IGNORECASE)
# A share of the whole, a bar, a spinner or counter; a program's name with its version; which files it was started with.
_NOISE = re.compile(
    r".*\d ?%\)?|.* percent completed|[-\\|/.*#=>\s\d]*|(elapsed|remaining|completed)( time)?:.*|done"
    r"|\S+ v?\d+\.\d[\w.-]*( \(.*\)| http\S*)?|file descriptor \d+ \([^()]*\) leaked on .*",
    re.IGNORECASE,
)


class CommandError(ReimageError):
    """A program is missing, failed, or took too long."""

    def __init__(self, message: str, returncode: int | None = None, stdout: bytes = b"", stderr: bytes = b"") -> None:
        super().__init__(message)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


def run(
    arguments: Sequence[str],
    *,
    data: bytes | None = None,
    timeout: float = 60,
    accept: Sequence[int] = (0,),
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end and return its output, as bytes, in English whatever the language of the machine.

    :param arguments: The program and its arguments. They appear in error messages, so never put a secret here:
        pass it in I(data), which goes to standard input.
    :param timeout: Seconds after which the program is killed.
    :param accept: The exit codes that mean success.
    :raises CommandError: The program does not exist, took longer than I(timeout), or ended otherwise.
    """
    shown = " ".join(arguments)
    english = {**os.environ, **_ENGLISH}
    try:
        result = subprocess.run(list(arguments), input=data, capture_output=True, timeout=timeout, env=english, check=False)
    except FileNotFoundError as error:
        raise CommandError(f"{arguments[0]}: this program is not installed here (wanted for: {shown})") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"{shown}: did not end within {timeout:g} s", None, error.stdout or b"", error.stderr or b""
        ) from error
    if result.returncode not in accept:
        raise CommandError(
            f"{shown}: failed with exit code {result.returncode}: {complaint(result.stderr) or complaint(result.stdout)}",
            result.returncode,
            result.stdout,
            result.stderr,
        )
    return result


def complaint(output: bytes) -> str:
    """Return on one line, bounded, what a program says is wrong: no progress, usage page, banner or sign for a terminal."""
    lines = []
    for line in _BREAK.split(_ESCAPE.sub("", output.decode(errors="replace"))):
        if _USAGE.match(line.strip()):
            break
        lines.append(" ".join(line.split()))
    telling = [line for line in lines if not _NOISE.fullmatch(line)]
    return "; ".join(dict.fromkeys(telling or filter(None, lines)))[-_LONGEST_COMPLAINT:]


def require(program: str, purpose: str) -> None:
    """Raise C(CommandError) if a program is missing that a later step needs, when it would be too late to refuse."""
    if shutil.which(program) is None:
        raise CommandError(f"{program} is not installed here: it is needed to {purpose}")


@contextmanager
def background(arguments: Sequence[str], *, timeout: float = 60, stop: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program beside the block; it must end within I(timeout) seconds after the block.

    :param stop: Ask it to end after the block, also after one that failed; otherwise it must end by itself.
    :raises CommandError: The program does not exist, or did not end.
    """
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(list(arguments), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        except FileNotFoundError as error:
            raise CommandError(
                f"{arguments[0]}: this program is not installed here (wanted for: {' '.join(arguments)})"
            ) from error
        try:
            yield process
            if stop:
                process.terminate()
            process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{' '.join(arguments)}: did not end within {timeout:g} s") from error
        finally:
            if stop:
                process.terminate()  # it may have a program of its own to end, as timeout does
                with suppress(subprocess.TimeoutExpired):
                    process.wait(2)
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool], timeout: float, awaited: str) -> None:
    """Return when a condition holds; it is checked ten times a second.

    :raises CommandError: It did not hold within I(timeout) seconds; the message names I(awaited).
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise CommandError(f"waited {timeout:g} s for {awaited}")
        time.sleep(0.1)
