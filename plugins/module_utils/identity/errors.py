# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong with identities."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.errors import InvalidNameError, ReimageError


class IdentityError(ReimageError):
    """A machine cannot be given the identity that it should have; nothing was changed unless the message says so."""


@contextmanager
def naming(option: str) -> Iterator[None]:
    """Turn an C(InvalidNameError) of the block into an C(IdentityError) that begins with the name of I(option)."""
    try:
        yield
    except InvalidNameError as error:
        raise IdentityError(f"{option}: {error}") from error
