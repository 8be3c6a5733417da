# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person wants a Windows to become, checked before anything is written.

Sources: Microsoft, "Unattended Windows Setup Reference"; "Naming conventions in Active Directory".
"""

from __future__ import annotations

import difflib
import locale
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError, naming
from ansible_collections.reimage.lab.plugins.module_utils.identity.interfaces import (
    Interface,
    check_interfaces,
    interfaces_from,
)
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.time_zones import TIME_ZONES
from ansible_collections.reimage.lab.plugins.module_utils.names import check_computer_name, check_dns_name

_KEY = re.compile(r"[A-Z0-9]{5}(?:-[A-Z0-9]{5}){4}")
_LOCALE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z]{4})?-(?:[A-Z]{2}|\d{3})")
# [MS-LCID] "Windows Language Code Identifier Reference"; Windows takes any region with them.
_LANGUAGES = (
    " af am ar arn as az ba be bg bn bo br bs ca chr ckb co cs cy da de dsb dv dz el en es et eu fa ff fi fil fo fr"
    " fy ga gd gl gn gsw gu ha haw he hi hr hsb hu hy id ig ii is it iu ja jv ka kk kl km kn ko kok ks ku ky la lb"
    " lo lt lv mg mi mk ml mn moh mr ms mt my nb ne nl nn nso oc om or pa pl prs ps pt quc quz rm ro ru rw sa sah sd"
    " se si sk sl sma smj smn sms so sq sr ss st sv sw syr ta te tg th ti tk tn tr ts tt tzm ug uk ur uz ve vi wo xh"
    " yi yo zgh zh zu "
)
_ACCOUNT_FORBIDDEN = set('"/\\[]:;|=,+*?<>')
SYNCHRONOUS_LONGEST, FIRST_LOGON_LONGEST = 259, 1024
WINDOWS_11 = 22000
REMOTING = ("winrm", "ssh", "none")


@dataclass(frozen=True)
class Join:
    """Where a machine belongs: a workgroup; or a domain, with credentials or with a blob from C(net offlinejoin)."""

    workgroup: str = ""
    domain: str = ""
    ou: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    offline_blob: str = field(default="", repr=False)

    @property
    def declared(self) -> bool:
        """Whether the machine is to belong anywhere else than the image says."""
        return bool(self.workgroup or self.domain or self.offline_blob)


@dataclass(frozen=True)
class Account:
    """A local account."""

    name: str
    password: str = field(repr=False)
    group: str = "Administrators"
    display_name: str = ""


@dataclass(frozen=True)
class Answers:
    """All that can be declared. Empty means that the image's own setting stays."""

    computer_name: str
    time_zone: str = ""
    product_key: str = ""
    locale: str = ""
    join: Join = Join()
    interfaces: Sequence[Interface] = ()
    accounts: Sequence[Account] = ()
    auto_logon: str = ""
    auto_logon_count: int = 1
    first_logon_commands: Sequence[str] = ()
    specialize_commands: Sequence[str] = ()
    remoting: str = "winrm"
    ssh_keys: Sequence[str] = ()
    drivers: bool = False
    device_encryption: bool = False
    full_name: str = ""
    organization: str = ""

    def secrets(self) -> list[str]:
        """Return what must appear in no log and no result."""
        found = [self.join.password, self.join.offline_blob, self.product_key, *(one.password for one in self.accounts)]
        return [secret for secret in found if secret]


def from_options(options: Mapping[str, Any]) -> Answers:
    """Return what a module's options declare.

    :raises IdentityError: One of them cannot be.
    """
    join, logon = options.get("join") or {}, options.get("auto_logon") or {}
    answers = Answers(
        computer_name=options["computer_name"],
        time_zone=options.get("time_zone") or "",
        product_key=(options.get("product_key") or "").upper(),
        locale=options.get("locale") or "",
        join=Join(**{key: value for key, value in join.items() if value}),
        interfaces=interfaces_from(options.get("interfaces")),
        accounts=[
            Account(item["name"], item["password"], item.get("group") or "Administrators", item.get("display_name") or "")
            for item in options.get("accounts") or []
        ],
        auto_logon=logon.get("account") or "",
        auto_logon_count=logon.get("count") or 1,
        first_logon_commands=options.get("first_logon_commands") or [],
        specialize_commands=options.get("specialize_commands") or [],
        remoting=options.get("remoting") or "winrm",
        ssh_keys=options.get("ssh_keys") or [],
        drivers=bool(options.get("drivers")),
        device_encryption=bool(options.get("device_encryption")),
        full_name=options.get("full_name") or "",
        organization=options.get("organization") or "",
    )
    check(answers)
    return answers


def check(answers: Answers) -> None:
    """Raise C(IdentityError), naming the option, if something cannot be."""
    check_name(answers.computer_name)
    if answers.time_zone and answers.time_zone not in TIME_ZONES:
        near = difflib.get_close_matches(answers.time_zone, TIME_ZONES, 3, 0.5)
        raise IdentityError(f"time_zone: Windows knows no {answers.time_zone!r}; did you mean {', '.join(near) or 'UTC'}?")
    if answers.product_key and not _KEY.fullmatch(answers.product_key):
        raise IdentityError("product_key: this is not a product key: five groups of five letters and digits, with dashes")
    if answers.locale:
        _check_locale(answers.locale)
    _check_join(answers.join)
    _check_accounts(answers)
    check_interfaces(answers.interfaces)
    for option, commands, longest in (
        ("specialize_commands", answers.specialize_commands, SYNCHRONOUS_LONGEST),
        ("first_logon_commands", answers.first_logon_commands, FIRST_LOGON_LONGEST),
    ):
        for command in commands:
            if not command or len(command) > longest:
                raise IdentityError(f"{option}: a command has 1 to {longest} characters, not {len(command)}: {command[:60]}")


def _check_locale(name: str) -> None:
    if not _LOCALE.fullmatch(name):
        raise IdentityError(f"locale: {name!r} is not a language and a region, such as de-DE")
    known = [one.replace("_", "-") for one in locale.windows_locale.values()]
    if f" {name.split('-')[0]} " not in _LANGUAGES:
        near = difflib.get_close_matches(name, known, 3, 0.5)
        raise IdentityError(f"locale: Windows knows no language of {name!r}; did you mean {', '.join(near) or 'en-US'}?")


def check_name(name: str) -> None:
    """Raise C(IdentityError) if a computer cannot have a name."""
    with naming("computer_name"):
        check_computer_name(name)


def check_for(answers: Answers, build: int) -> None:
    """Raise C(IdentityError) if a Windows of I(build) cannot be set up like this."""
    if build >= WINDOWS_11 and not answers.accounts:
        raise IdentityError(
            "accounts: Windows 11 asks for a Microsoft account at its first start if no local account is declared: declare one"
        )


def _check_join(join: Join) -> None:
    if join.workgroup and (join.domain or join.offline_blob):
        raise IdentityError("join: a machine is in a workgroup or in a domain, not in both")
    if join.offline_blob and (join.username or join.password):
        raise IdentityError("join: offline_blob needs no credentials; leave username and password out")
    if join.domain and not join.offline_blob and not (join.username and join.password):
        raise IdentityError("join: a domain needs username and password, or offline_blob")
    if join.domain:
        with naming("join: domain"):
            check_dns_name(join.domain)
    if (join.ou or join.username) and not (join.domain or join.offline_blob):
        raise IdentityError("join: ou and username mean something only with a domain")
    if join.ou and not re.match(r"(?i)(ou|cn)=", join.ou):
        raise IdentityError(f"join: ou must be a distinguished name, such as OU=Lab,DC=example,DC=org, not {join.ou!r}")
    if join.workgroup and (len(join.workgroup) > 15 or set(join.workgroup) & _ACCOUNT_FORBIDDEN):
        raise IdentityError(f"join: {join.workgroup!r} cannot be the name of a workgroup")


def _check_accounts(answers: Answers) -> None:
    names = [account.name.lower() for account in answers.accounts]
    for account in answers.accounts:
        name = account.name
        if not 1 <= len(name) <= 20 or set(name) & _ACCOUNT_FORBIDDEN or name.strip(". ") != name:
            raise IdentityError(f"accounts: {name!r} cannot be the name of an account")
        if name.lower() == answers.computer_name.lower():
            raise IdentityError(f"accounts: {name!r} is the name of the computer too, which Windows refuses")
        if names.count(name.lower()) > 1:
            raise IdentityError(f"accounts: {name!r} is declared twice")
        if not account.password:
            raise IdentityError(f"accounts: {name!r} needs a password")
    if answers.auto_logon and answers.auto_logon.lower() not in names:
        raise IdentityError(f"auto_logon: {answers.auto_logon!r} is none of the declared accounts")
    if answers.first_logon_commands and not answers.auto_logon:
        raise IdentityError("first_logon_commands: they run when somebody logs on: set auto_logon, or use specialize_commands")
    if answers.remoting not in REMOTING:
        raise IdentityError(f"remoting: {answers.remoting!r} is unknown; there is {', '.join(REMOTING)}")
