# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hold connections from two addresses, then ask from a third: C(crowd.py ADDRESS COUNT FIRST_BYTES PATH).

Prints how many connections are held, and the first line that the third address gets.
"""

from __future__ import annotations

import contextlib
import socket
import sys

address, count, first_bytes, path = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), sys.argv[4]


def connect(source: str) -> socket.socket:
    connection = socket.create_connection((address, 80), timeout=5, source_address=(source, 0))
    connection.settimeout(5)
    return connection


held = []
for number in range(count):
    with contextlib.suppress(ConnectionError):
        connection = connect(f"127.0.0.{2 + number % 2}")
        connection.sendall(first_bytes)
        if first_bytes.endswith(b"\r\n\r\n") and not connection.recv(12).endswith(b" 200"):
            continue  # refused
        held.append(connection)
answer = b""
with contextlib.suppress(OSError):
    third = connect("127.0.0.4")
    third.sendall(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
    answer = third.recv(100)
print(len(held), answer.split(b"\r\n")[0].decode())
