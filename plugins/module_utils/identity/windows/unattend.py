# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answer file of Windows Vista and later: what is declared is merged into a user's own file, or into an empty one.

Windows reads it in US-ASCII without comments, for both are reported to break it; characters beyond are written as references.
Source: Microsoft, "Unattended Windows Setup Reference".
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Iterator, Mapping, Sequence

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.interfaces import Interface
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows import clean_up, remoting
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import (
    SYNCHRONOUS_LONGEST,
    Account,
    Answers,
    Join,
)
from ansible_collections.reimage.lab.plugins.module_utils.mac import dashed

NS = "urn:schemas-microsoft-com:unattend"
WCM = "http://schemas.microsoft.com/WMIConfig/2002/State"
CPI = "urn:schemas-microsoft-com:cpi"
PASSES = (
    "windowsPE",
    "offlineServicing",
    "generalize",
    "specialize",
    "auditSystem",
    "auditUser",
    "oobeSystem",
)
DEPLOYMENT, SHELL = "Microsoft-Windows-Deployment", "Microsoft-Windows-Shell-Setup"
JOIN, NETWORK = "Microsoft-Windows-UnattendedJoin", "Microsoft-Windows-TCPIP"
RESOLVER, LANGUAGE = "Microsoft-Windows-DNS-Client", "Microsoft-Windows-International-Core"
DRIVERS = r"C:\Drivers"
_ENCRYPTION = r"reg add HKLM\SYSTEM\CurrentControlSet\Control\BitLocker /v PreventDeviceEncryption /t REG_DWORD /d 1 /f"
_INSTALL_DRIVERS = rf"pnputil /add-driver {DRIVERS}\*.inf /subdirs /install"

ET.register_namespace("", NS)
ET.register_namespace("wcm", WCM)
ET.register_namespace("cpi", CPI)


def render(answers: Answers, architecture: str) -> str:
    """Return a whole answer file."""
    root = ET.Element(f"{{{NS}}}unattend")
    declare(root, answers, architecture)
    shell = find(root, "oobeSystem", SHELL, architecture)
    for name, text in (
        ("HideEULAPage", "true"),
        ("HideOEMRegistrationScreen", "true"),
        ("HideOnlineAccountScreens", "true"),
        ("HideWirelessSetupInOOBE", "true"),
        ("ProtectYourPC", "3"),
    ):
        put(child(shell, "OOBE"), name, text)
    return serialize(root)


def declare(root: ET.Element, answers: Answers, architecture: str) -> None:
    """Merge all that is declared, with its defaults settled, into an answer file.

    A setting replaces the file's own in every pass that has it, for the later pass wins. Accounts and network cards replace those
    of the same name or address; commands run after the file's own.

    :raises IdentityError: The file has a component for another architecture only, or a command is too long.
    """
    shell = {
        "ComputerName": answers.computer_name,
        "ProductKey": answers.product_key or "",
        "RegisteredOrganization": answers.organization,
        "RegisteredOwner": answers.full_name,
        "TimeZone": answers.time_zone,
    }
    language = {
        "InputLocale": answers.keyboard,
        "SystemLocale": answers.locale,
        "UILanguage": answers.ui_language,
        "UserLocale": answers.region,
    }
    deployment = find(root, "specialize", DEPLOYMENT, architecture)
    _commands(child(deployment, "RunSynchronous"), "RunSynchronousCommand", "Path", specialize_commands(answers))
    _set(root, "specialize", SHELL, architecture, shell)
    if answers.join.declared:
        part = find(root, "specialize", JOIN, architecture)
        for old in list(part):
            part.remove(old)
        identify(part, answers.join)
    _network(root, answers.interfaces, architecture)
    _set(root, "oobeSystem", LANGUAGE, architecture, language)
    _users(find(root, "oobeSystem", SHELL, architecture), answers)


def serialize(root: ET.Element) -> str:
    """Return the text of an answer file, in US-ASCII."""
    for other in root:
        # Scripts look for such parts, which Windows ignores, by their names without a prefix.
        space = other.tag[1:].partition("}")[0]
        if space not in (NS, CPI):
            for element in other.iter():
                element.tag = element.tag.replace(f"{{{space}}}", "")
            other.set("xmlns", space)
    ET.indent(root)
    body = ET.tostring(root, encoding="us-ascii").decode("ascii")
    if body.startswith("<?xml"):
        body = body.split("\n", 1)[1]
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def components(root: ET.Element, name: str, architecture: str) -> Iterator[ET.Element]:
    """Yield a component of every pass that has it."""
    for part in root.iterfind(f"{{{NS}}}settings/{{{NS}}}component"):
        if part.get("name") == name and part.get("processorArchitecture") == architecture:
            yield part


def find(root: ET.Element, wanted: str, name: str, architecture: str) -> ET.Element:
    """Return a component of a pass, making both if they are missing.

    :raises IdentityError: The file has it for another architecture only, so that this Windows would ignore it.
    """
    settings = next((item for item in root.iterfind(f"{{{NS}}}settings") if item.get("pass") == wanted), None)
    if settings is None:
        settings = ET.SubElement(root, f"{{{NS}}}settings", {"pass": wanted})
    parts = [item for item in settings.iterfind(f"{{{NS}}}component") if item.get("name") == name]
    mine = [item for item in parts if item.get("processorArchitecture") == architecture]
    if parts and not mine:
        has = ", ".join(str(item.get("processorArchitecture")) for item in parts)
        raise IdentityError(f"the template has {name} for {has}, and this Windows is {architecture}")
    return mine[0] if mine else component(settings, name, architecture)


def component(settings: ET.Element, name: str, architecture: str) -> ET.Element:
    """Add a component to a pass."""
    return ET.SubElement(
        settings,
        f"{{{NS}}}component",
        {
            "name": name,
            "processorArchitecture": architecture,
            "publicKeyToken": "31bf3856ad364e35",
            "language": "neutral",
            "versionScope": "nonSxS",
        },
    )


def put(parent: ET.Element, path: str, text: str) -> ET.Element:
    """Have an element below another, by names that exist at most once, hold I(text)."""
    for name in path.split("/"):
        found = parent.find(f"{{{NS}}}{name}")
        parent = ET.SubElement(parent, f"{{{NS}}}{name}") if found is None else found
    parent.text = text
    return parent


def child(part: ET.Element, name: str) -> ET.Element:
    """Return an element of a component; a new one comes where the schema has it, which is by the alphabet."""
    found = part.find(f"{{{NS}}}{name}")
    if found is None:
        found = ET.Element(f"{{{NS}}}{name}")
        place = next((number for number, other in enumerate(part) if local(other) > name), len(part))
        part.insert(place, found)
    return found


def local(element: ET.Element) -> str:
    """Return an element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def add(parent: ET.Element, name: str) -> ET.Element:
    """Add an item to a list."""
    return ET.SubElement(parent, f"{{{NS}}}{name}", {f"{{{WCM}}}action": "add"})


def specialize_commands(answers: Answers) -> list[str]:
    """Return all commands that run as SYSTEM before anybody can log on, in their order.

    :raises IdentityError: One is too long for Windows.
    """
    own = [] if answers.device_encryption else [_ENCRYPTION]
    own += [_INSTALL_DRIVERS] if answers.drivers else []
    commands = [*own, *remoting.first_commands(answers), clean_up.COMMAND, *answers.specialize_commands]
    for command in commands:
        if len(command) > SYNCHRONOUS_LONGEST:
            raise IdentityError(f"a command of specialize has more than {SYNCHRONOUS_LONGEST} characters: {command[:60]}")
    return commands


def _commands(listed: ET.Element, item: str, holder: str, commands: Sequence[str]) -> None:
    """Add commands to a list, to run after those that are in it."""
    orders = [order.text or "" for order in listed.iter(f"{{{NS}}}Order")]
    last = max((int(order) for order in orders if order.strip().isdecimal()), default=0)
    for number, command in enumerate(commands, last + 1):
        added = add(listed, item)
        for name, text in sorted({"Order": str(number), holder: command}.items()):
            put(added, name, text)


def _set(root: ET.Element, wanted: str, name: str, architecture: str, values: Mapping[str, str]) -> None:
    """Set what is not empty in a component of one pass, and in all passes that have it already."""
    given = {key: text for key, text in values.items() if text}
    if not given:
        return
    mine = find(root, wanted, name, architecture)
    for key, text in given.items():
        child(mine, key)
        for part in components(root, name, architecture):
            for element in part.findall(f"{{{NS}}}{key}"):
                element.text = text


def identify(part: ET.Element, join: Join) -> None:
    """Say in a component where the machine belongs."""
    if join.offline_blob:
        put(part, "Identification/Provisioning/AccountData", join.offline_blob)
    elif join.domain:
        put(part, "Identification/Credentials/Domain", join.domain)
        put(part, "Identification/Credentials/Password", join.password)
        put(part, "Identification/Credentials/Username", join.username)
        put(part, "Identification/JoinDomain", join.domain)
        if join.ou:
            put(part, "Identification/MachineObjectOU", join.ou)
    else:
        put(part, "Identification/JoinWorkgroup", join.workgroup)


def _network(root: ET.Element, interfaces: Sequence[Interface], architecture: str) -> None:
    for interface in interfaces:
        _addresses(_card(find(root, "specialize", NETWORK, architecture), interface), interface)
        if interface.dns:
            item = _card(find(root, "specialize", RESOLVER, architecture), interface)
            put(item, "Identifier", dashed(interface.mac).upper())
            servers = ET.SubElement(item, f"{{{NS}}}DNSServerSearchOrder")
            for number, server in enumerate(interface.dns, 1):
                _keyed(servers, str(number), server)


def _card(part: ET.Element, interface: Interface) -> ET.Element:
    """Return a new item for a network card, instead of the one that is there."""
    listed = child(part, "Interfaces")
    _remove(listed, "Identifier", dashed(interface.mac))
    return add(listed, "Interface")


def _remove(listed: ET.Element, key: str, value: str) -> None:
    for item in list(listed):
        if (item.findtext(f"{{{NS}}}{key}") or "").strip().lower() == value.lower():
            listed.remove(item)


def _addresses(item: ET.Element, interface: Interface) -> None:
    """Describe one network card; the schema wants the parts in this order."""
    for version in (4, 6):
        if any((":" in address) == (version == 6) for address in interface.addresses):
            put(item, f"Ipv{version}Settings/DhcpEnabled", "false")
    put(item, "Identifier", dashed(interface.mac).upper())
    unicast = ET.SubElement(item, f"{{{NS}}}UnicastIpAddresses")
    for number, address in enumerate(interface.addresses, 1):
        _keyed(unicast, str(number), address)
    if interface.gateways:
        routes = ET.SubElement(item, f"{{{NS}}}Routes")
        for number, gateway in enumerate(interface.gateways):
            route = add(routes, "Route")
            put(route, "Identifier", str(number))
            put(route, "Metric", "10")
            put(route, "NextHopAddress", gateway)
            put(route, "Prefix", "::/0" if ":" in gateway else "0.0.0.0/0")


def _keyed(parent: ET.Element, key: str, text: str) -> None:
    item = add(parent, "IpAddress")
    item.set(f"{{{WCM}}}keyValue", key)
    item.text = text


def _users(shell: ET.Element, answers: Answers) -> None:
    for account in answers.accounts:
        _account(child(shell, "UserAccounts"), account)
    if answers.auto_logon:
        account = next(one for one in answers.accounts if one.name.lower() == answers.auto_logon.account.lower())
        logon = child(shell, "AutoLogon")
        for old in list(logon):
            logon.remove(old)
        put(logon, "Password/Value", account.password)
        put(logon, "Password/PlainText", "true")
        put(logon, "Enabled", "true")
        put(logon, "LogonCount", str(answers.auto_logon.count))  # Windows adds one
        put(logon, "Username", account.name)
    if answers.first_logon_commands:
        listed = child(shell, "FirstLogonCommands")
        _commands(listed, "SynchronousCommand", "CommandLine", answers.first_logon_commands)


def _account(accounts: ET.Element, account: Account) -> None:
    """Declare an account; that of the administrator is there already, and gets a password."""
    if account.built_in:
        password = child(accounts, "AdministratorPassword")
        put(password, "Value", account.password)
        put(password, "PlainText", "true")
        return
    listed = child(accounts, "LocalAccounts")
    _remove(listed, "Name", account.name)
    item = add(listed, "LocalAccount")
    put(item, "Password/Value", account.password)
    put(item, "Password/PlainText", "true")
    put(item, "DisplayName", account.display_name or account.name)
    put(item, "Group", account.group)
    put(item, "Name", account.name)
