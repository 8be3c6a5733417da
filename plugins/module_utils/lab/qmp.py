# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""QEMU's monitor protocol, as much of it as a power button and a screen need.

Source: QEMU's C(docs/interop/qmp-spec.rst).
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.reimage.lab.plugins.module_utils.lab.errors import LabError


class Monitor:
    """A connection to the monitor of one virtual PC. QEMU serves one at a time; others wait for their turn."""

    def __init__(self, path: Path, timeout: float = 20) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
            self._stream = self._socket.makefile("rwb")
            self._answer()
        except OSError as error:
            self._socket.close()
            raise LabError(f"the monitor {path} does not answer: {error}") from error
        self.command("qmp_capabilities")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()
        self._socket.close()

    def command(self, name: str, **arguments: Any) -> Any:
        """Run a command and return what it returns."""
        try:
            self._stream.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
            self._stream.flush()
            while True:
                answer = self._answer()
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise LabError(f"{self._path}: {name}: {answer['error'].get('desc')}")
        except OSError as error:
            raise LabError(f"{self._path}: {name}: {error}") from error

    def _answer(self) -> dict[str, Any]:
        line = self._stream.readline()
        if not line:
            raise OSError("QEMU closed the connection")
        answer: dict[str, Any] = json.loads(line)
        return answer
