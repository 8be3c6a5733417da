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
import unicodedata
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Mapping, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError, naming
from ansible_collections.reimage.lab.plugins.module_utils.identity.interfaces import Interface, interfaces_from
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.time_zones import TIME_ZONES
from ansible_collections.reimage.lab.plugins.module_utils.names import check_computer_name, check_dns_name
from ansible_collections.reimage.lab.plugins.module_utils.options import option, read

_KEY = re.compile(r"[A-Z0-9]{5}(?:-[A-Z0-9]{5}){4}")
_LOCALE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z]{4})?-(?:[A-Z]{2}|\d{3})")
_KEYBOARD = re.compile(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{8}")
# [MS-LCID] "Windows Language Code Identifier Reference"; Windows takes any region with them.
_LANGUAGES = (
    " af am ar arn as az ba be bg bn bo br bs ca chr ckb co cs cy da de dsb dv dz el en es et eu fa ff fi fil fo fr"
    " fy ga gd gl gn gsw gu ha haw he hi hr hsb hu hy id ig ii is it iu ja jv ka kk kl km kn ko kok ks ku ky la lb"
    " lo lt lv mg mi mk ml mn moh mr ms mt my nb ne nl nn nso oc om or pa pl prs ps pt quc quz rm ro ru rw sa sah sd"
    " se si sk sl sma smj smn sms so sq sr ss st sv sw syr ta te tg th ti tk tn tr ts tt tzm ug uk ur uz ve vi wo xh"
    " yi yo zgh zh zu "
)
_ACCOUNT_FORBIDDEN = set('"/\\[]:;|=,+*?<>')
# Microsoft, "Naming conventions in Active Directory"; the accounts that Windows 10 and later have.
_RESERVED = (
    "|guest|defaultaccount|wdagutilityaccount|system|local service|network service|network|local|everyone|none|interactive|batch"
    "|dialup|anonymous logon|authenticated users|creator owner|creator group|self|restricted|"
)
SYNCHRONOUS_LONGEST, FIRST_LOGON_LONGEST = 259, 1024
WINDOWS_11 = 22000
REMOTING = ("winrm", "ssh", "none")


@dataclass(frozen=True)
class Join:
    """Where a machine belongs: a workgroup; or a domain, with credentials or with a blob from C(net offlinejoin)."""

    workgroup: str = option("Name of a workgroup.", "")
    domain: str = option("DNS name of a domain.", "")
    ou: str = option("Distinguished name of the organizational unit for the machine's account.", "")
    username: str = option("Account that may join machines.", "")
    password: str = option("Its password.", "", secret=True)
    offline_blob: str = option(
        "What C(net offlinejoin provision) gave for this machine; no credentials are needed with it.", "", secret=True
    )

    @property
    def declared(self) -> bool:
        """Whether the machine is to belong anywhere else than the image says."""
        return bool(self.workgroup or self.domain or self.offline_blob)


@dataclass(frozen=True)
class Account:
    """A local account."""

    name: str = option("Name of the account. C(Administrator) is the one that Windows has, which gets a password.")
    password: str = option("Its password.", secret=True)
    group: str = option("Its groups, separated by semicolons.", "Administrators")
    display_name: str = option("Name to show.", "")

    @property
    def built_in(self) -> bool:
        """Whether Windows makes it, so that it only gets a password."""
        return self.name.lower() == "administrator"


@dataclass(frozen=True)
class AutoLogon:
    """Who is logged on without being asked."""

    account: str = option("One of O(accounts).")
    count: int = option("How many times. Windows adds one.", 1)


@dataclass(frozen=True)
class Answers:
    """All that can be declared of a Windows. Empty means that the image's own setting stays."""

    computer_name: str = option("Name of the machine, at most 15 letters, digits and dashes, and none that Windows reserves.")
    time_zone: str = option("Time zone, by its name in Windows, such as V(W. Europe Standard Time).", "")
    product_key: str | None = option("Product key. An empty one is refused.", None, secret=True)
    locale: str = option("Language and region of the system, such as V(de-AT); the default of the next three.", "")
    ui_language: str = option(
        "Language of menus and dialogs, which the image must have. By default that of O(locale), or else the image's own.",
        "",
    )
    keyboard: str = option("Keyboard, as a language and a region, or by its number, such as V(0407:00000407).", "")
    region: str = option("How users write dates, numbers and money, such as V(de-CH).", "")
    join: Join = option("Where the machine belongs.", Join(), of=Join)
    interfaces: Sequence[Interface] = ()  # whose option is that of C(Addresses)
    accounts: Sequence[Account] = option("Local accounts to make. Windows 11 needs at least one.", (), of=Account)
    auto_logon: AutoLogon | None = option("Log on by itself, the first times.", None, of=AutoLogon)
    first_logon_commands: Sequence[str] = option(
        "Commands to run when O(auto_logon) logs on for the first time, at most 1024 characters each.", ()
    )
    specialize_commands: Sequence[str] = option(
        "Commands to run as the system itself, before anybody can log on, at most 259 characters each.", ()
    )
    remoting: str | None = option(
        "How Ansible is to reach the machine, WinRM over HTTPS, OpenSSH, or not at all. V(winrm) if neither this nor O(template)"
        " is given; what an own file does is enough without it.",
        None,
        choices=REMOTING,
    )
    ssh_keys: Sequence[str] = option("Public keys of administrators, for O(remoting=ssh).", (), secret=False)
    drivers: bool = option(
        r"Install the drivers that are in C(C:\Drivers), such as M(reimage.lab.windows_drivers) puts there.", False
    )
    device_encryption: bool | None = option(
        "Let Windows encrypt the disk by itself. V(false) if neither this nor O(template) is given.", None, kind="bool"
    )
    full_name: str = option("The registered owner.", "")
    organization: str = option("The registered organization.", "")

    def settled(self, *, template: bool, languages: Sequence[str] = ()) -> Answers:
        """Return the same with the defaults that depend on others, on the user's own file, and on the image.

        :param languages: Those that the image has, such as C(de-DE); none if that is not known.
        :raises IdentityError: The image does not have the language that is declared.
        """
        return replace(
            self,
            ui_language=_spoken(self, languages),
            keyboard=self.keyboard or self.locale,
            region=self.region or self.locale,
            remoting=self.remoting or ("none" if template else "winrm"),
            device_encryption=template if self.device_encryption is None else self.device_encryption,
        )


@dataclass(frozen=True)
class Injection:
    """How the answers are given to a disk."""

    image: str = option(
        r"Name and version of the image that the disk holds, which is recorded in C(ProgramData\reimage\identity.json).", ""
    )
    template: str | None = option(
        "An answer file of the user's own, in UTF-8 or UTF-16, on the machine where this runs. All that is declared is merged"
        " into it: settings, accounts and network cards replace its own of the same name, and commands run after its own.",
        None,
        kind="path",
    )
    require_generalized: bool = option("Refuse a Windows that is not generalized.", True)


def from_options(options: Mapping[str, Any]) -> Answers:
    """Return what a module's options declare.

    :raises IdentityError: One of them cannot be.
    """
    if options.get("product_key") == "":
        raise IdentityError("product_key: it is empty: give the key, or leave it out")
    given = read(Answers, options)
    answers = replace(given, product_key=(given.product_key or "").upper(), interfaces=interfaces_from(options.get("interfaces")))
    check(answers)
    return answers


def check(answers: Answers) -> None:
    """Raise C(IdentityError), naming the option, if something cannot be."""
    _check_characters(answers, "")
    check_name(answers.computer_name)
    if answers.time_zone and answers.time_zone not in TIME_ZONES:
        near = difflib.get_close_matches(answers.time_zone, TIME_ZONES, 3, 0.5)
        raise IdentityError(f"time_zone: Windows knows no {answers.time_zone!r}; did you mean {', '.join(near) or 'UTC'}?")
    if answers.product_key and not _KEY.fullmatch(answers.product_key):
        raise IdentityError("product_key: this is not a product key: five groups of five letters and digits, with dashes")
    for option_name in ("locale", "ui_language", "region", "keyboard"):
        name = getattr(answers, option_name)
        if name and not (option_name == "keyboard" and _KEYBOARD.fullmatch(name)):
            _check_locale(option_name, name)
    _check_join(answers.join)
    _check_accounts(answers)
    for name, commands, longest in (
        ("specialize_commands", answers.specialize_commands, SYNCHRONOUS_LONGEST),
        ("first_logon_commands", answers.first_logon_commands, FIRST_LOGON_LONGEST),
    ):
        for command in commands:
            if not command or len(command) > longest:
                raise IdentityError(f"{name}: a command has 1 to {longest} characters, not {len(command)}: {command[:60]}")


def _check_characters(value: Any, name: str) -> None:
    """Refuse what no XML can hold, and what would end a line where one is written. The value may be a secret."""
    if is_dataclass(value):
        for one in fields(value):
            _check_characters(getattr(value, one.name), f"{name}: {one.name}" if name else one.name)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_characters(item, name)
    elif isinstance(value, str):
        for letter in value:
            if unicodedata.category(letter) in ("Cc", "Cs") or letter in "\ufffe\uffff":
                raise IdentityError(f"{name}: it has the control character U+{ord(letter):04X} in it")


def _spoken(answers: Answers, languages: Sequence[str]) -> str:
    """Return the language that menus and dialogs are to have; empty if that of the image stays.

    Setup asks if it is one that the image does not have, and there is none for many regions, such as de-AT and es-AR.
    """
    wanted = answers.ui_language or answers.locale
    if not wanted or not languages:
        return wanted
    same = [name for name in languages if name.lower() == wanted.lower()]
    if answers.ui_language and not same:
        raise IdentityError(f"ui_language: the image does not have {wanted}, but {', '.join(languages)}")
    near = [name for name in languages if name.lower().split("-")[0] == wanted.lower().split("-")[0]]
    return next(iter([*same, *near, *languages]))


def _check_locale(option_name: str, name: str) -> None:
    if not _LOCALE.fullmatch(name):
        raise IdentityError(f"{option_name}: {name!r} is not a language and a region, such as de-DE")
    known = [one.replace("_", "-") for one in locale.windows_locale.values()]
    if f" {name.split('-')[0]} " not in _LANGUAGES:
        near = difflib.get_close_matches(name, known, 3, 0.5)
        raise IdentityError(f"{option_name}: Windows knows no language of {name!r}; did you mean {', '.join(near) or 'en-US'}?")


def check_name(name: str) -> None:
    """Raise C(IdentityError) if a computer cannot have a name."""
    with naming("computer_name"):
        check_computer_name(name)


def check_for(answers: Answers, build: int, *, server: bool = False, has_account: bool = False) -> None:
    """Raise C(IdentityError) if a Windows of I(build) cannot be set up like this.

    :param has_account: The user's own file makes one.
    """
    own = has_account or any(not account.built_in for account in answers.accounts)
    if build >= WINDOWS_11 and not server and not own:
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
        _check_account(account, answers.computer_name)
        if names.count(account.name.lower()) > 1:
            raise IdentityError(f"accounts: {account.name!r} is declared twice")
    logon = answers.auto_logon
    if logon and logon.account.lower() not in names:
        raise IdentityError(f"auto_logon: {logon.account!r} is none of the declared accounts")
    if logon and logon.count < 1:
        raise IdentityError(f"auto_logon: count is how many times, at least 1, not {logon.count}")
    if answers.first_logon_commands and not answers.auto_logon:
        raise IdentityError("first_logon_commands: they run when somebody logs on: set auto_logon, or use specialize_commands")
    if answers.remoting not in (None, *REMOTING):
        raise IdentityError(f"remoting: {answers.remoting!r} is unknown; there is {', '.join(REMOTING)}")


def _check_account(account: Account, computer_name: str) -> None:
    name = account.name
    if not 1 <= len(name) <= 20 or set(name) & _ACCOUNT_FORBIDDEN or name.strip(". ") != name:
        raise IdentityError(f"accounts: {name!r} cannot be the name of an account")
    if f"|{name.lower()}|" in _RESERVED:
        raise IdentityError(f"accounts: {name!r} is one of Windows' own accounts, which cannot be made: take another name")
    if name.lower() == computer_name.lower():
        raise IdentityError(f"accounts: {name!r} is the name of the computer too, which Windows refuses")
    if not account.password:
        raise IdentityError(f"accounts: {name!r} needs a password")
    if account.built_in and (account.display_name or account.group.lower() != "administrators"):
        raise IdentityError(f"accounts: {name!r} is made by Windows and gets a password only: leave display_name and group out")
