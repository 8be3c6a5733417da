# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The base of all of the project's own errors."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Iterator


class ReimageError(Exception):
    """An error that a person can understand and act on.

    The message names the thing that is wrong and says what to do about it. Each package of C(module_utils) has one
    subclass; C(entry.run_module) turns all of them into C(fail_json).
    """


class InvalidNameError(ReimageError):
    """No machine can have this name or this MAC address."""


@contextmanager
def named(temporary: str, shown: str) -> Iterator[None]:
    """Have errors in the block call a thing I(shown), as people know it, and not by the path that it has for a moment."""
    try:
        yield
    except ReimageError as error:
        longer = r"(?!\d)" if temporary[-1].isdigit() else ""
        error.args = (re.sub(re.escape(temporary) + longer, lambda _found: shown, str(error)),)
        raise
