# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the constants of a shared library zeros that take no room in its file: C(hollow.py LIBRARY).

It still loads, and its symbols are where they were. Of use for a library of data that others must link to, but never ask.
Source: System V ABI, "Program Loading", ELF-64.
"""

import struct
import sys
from pathlib import Path

PAGE = 0x1000
LOAD, WRITABLE = 1, 2


def hollow(old: bytes) -> bytes:
    """Return a library of which only the beginning of its largest read-only segment is left in the file."""
    table, (size, count) = struct.unpack_from("<Q", old, 32)[0], struct.unpack_from("<HH", old, 54)
    headers = [list(struct.unpack_from("<IIQQQQQQ", old, table + number * size)) for number in range(count)]
    data = max((row for row in headers if row[0] == LOAD and not row[1] & WRITABLE), key=lambda row: row[5])
    start, end = data[2] + PAGE, data[2] + data[5] & -PAGE
    for row in headers:
        if row[2] >= end:
            row[2] -= end - start
    data[5] = PAGE  # in the file; what is missing in memory is zeros
    new = bytearray(old[: data[2]] + bytes(PAGE) + old[end:])
    for number, row in enumerate(headers):
        struct.pack_into("<IIQQQQQQ", new, table + number * size, *row)
    struct.pack_into("<Q", new, 40, 0)  # the sections are of no use without their contents
    struct.pack_into("<HH", new, 60, 0, 0)
    return bytes(new)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_bytes(hollow(path.read_bytes()))
