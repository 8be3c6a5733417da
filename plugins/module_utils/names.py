# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names that a machine may have, in DNS, on Linux and on Windows. Whoever takes a name from outside checks it here.

Sources: RFC 952; RFC 1123, section 2.1; hostname(7); Microsoft, "Naming conventions in Active Directory" (KB 909264).
"""

from __future__ import annotations

import re

from ansible_collections.reimage.lab.plugins.module_utils.errors import InvalidNameError

LONGEST_COMPUTER_NAME = 15  # the sixteenth character of a NetBIOS name says which service it is
_LONGEST_DNS_NAME = 253
_LONGEST_LINUX_NAME = 64  # of Linux's uname(2)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# Microsoft's table has more of them, with a space in each, which no name may have.
_RESERVED = (
    " ANONYMOUS BATCH BUILTIN DIALUP DOMAIN ENTERPRISE INTERACTIVE INTERNET LOCAL NETWORK NULL PROXY RESTRICTED SELF SERVER"
    " SERVICE SYSTEM USERS WORLD GATEWAY GW TAC "
)


def check_host_name(name: str) -> None:
    """Refuse what cannot be the name of a machine: one label of a DNS name, which is also what Linux takes.

    :raises InvalidNameError: It is empty, too long, or has other characters.
    """
    if not _LABEL.fullmatch(name):
        raise InvalidNameError(
            f"{name!r} cannot be the name of a machine: 1 to 63 letters, digits and dashes, with no dash at either end"
        )


def check_dns_name(name: str) -> None:
    """Refuse what cannot be a name in DNS, of one label or more, such as C(pc-01.example.org).

    :raises InvalidNameError: A label cannot be, it is too long, or it would be taken for an IPv4 address.
    """
    labels = name.split(".")
    if len(name) > _LONGEST_DNS_NAME or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise InvalidNameError(
            f"{name!r} is not a DNS name: labels of letters, digits and dashes, separated by dots, such as pc-01.example.org"
        )


def check_linux_name(name: str) -> None:
    """Refuse what cannot be the name of a Linux, with its domain or without.

    :raises InvalidNameError: A label of it cannot be, or it is longer than the kernel takes.
    """
    labels = name.split(".")
    if len(labels) == 1:
        check_host_name(name)
    elif len(name) > _LONGEST_LINUX_NAME or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
        raise InvalidNameError(
            f"{name!r} cannot be the name of a machine: at most {_LONGEST_LINUX_NAME} letters, digits and dashes, with dots"
            " between its parts, such as pc-01.example.org"
        )


def check_computer_name(name: str) -> None:
    """Refuse what cannot be the name of a Windows computer, which is a name in NetBIOS and in DNS at once.

    :raises InvalidNameError: It is too long, has other characters, or means something else to Windows.
    """
    if not _LABEL.fullmatch(name) or len(name) > LONGEST_COMPUTER_NAME or name.isdigit():
        raise InvalidNameError(
            f"{name!r} cannot be the name of a Windows computer: 1 to {LONGEST_COMPUTER_NAME} letters, digits and dashes, not all"
            " digits, with no dash at either end"
        )
    if f" {name.upper()} " in _RESERVED:
        raise InvalidNameError(f"{name!r} cannot be the name of a Windows computer: Windows reserves it, so choose another")
