# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answer file of Windows Vista and later: a whole one, or a user's own with only the identity set in it.

Windows reads it in US-ASCII without comments, for both are reported to break it; characters beyond are written as references.
Source: Microsoft, "Unattended Windows Setup Reference".
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Iterable

from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError
from ansible_collections.reimage.lab.plugins.module_utils.identity.interfaces import Interface
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import SYNCHRONOUS_LONGEST, Answers, Join
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.remoting import first_commands
from ansible_collections.reimage.lab.plugins.module_utils.mac import dashed

NS = "urn:schemas-microsoft-com:unattend"
WCM = "http://schemas.microsoft.com/WMIConfig/2002/State"
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


def render(answers: Answers, architecture: str) -> str:
    """Return a whole answer file."""
    root = ET.Element(f"{{{NS}}}unattend")
    specialize = ET.SubElement(root, f"{{{NS}}}settings", {"pass": "specialize"})
    _deployment(specialize, answers, architecture)
    _shell_specialize(specialize, answers, architecture)
    _join(specialize, answers, architecture)
    _network(specialize, answers.interfaces, architecture)
    oobe = ET.SubElement(root, f"{{{NS}}}settings", {"pass": "oobeSystem"})
    _language(oobe, answers, architecture)
    _shell_oobe(oobe, answers, architecture)
    return serialize(root)


def serialize(root: ET.Element) -> str:
    """Return the text of an answer file, in US-ASCII."""
    ET.indent(root)
    body = ET.tostring(root, encoding="us-ascii").decode("ascii")
    if body.startswith("<?xml"):
        body = body.split("\n", 1)[1]
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


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


def add(parent: ET.Element, name: str) -> ET.Element:
    """Add an item to a list."""
    return ET.SubElement(parent, f"{{{NS}}}{name}", {f"{{{WCM}}}action": "add"})


def specialize_commands(answers: Answers) -> list[str]:
    """Return all commands that run as SYSTEM before anybody can log on, in their order.

    :raises IdentityError: One is too long for Windows.
    """
    own = [] if answers.device_encryption else [_ENCRYPTION]
    own += [_INSTALL_DRIVERS] if answers.drivers else []
    commands = [*own, *first_commands(answers), *answers.specialize_commands]
    for command in commands:
        if len(command) > SYNCHRONOUS_LONGEST:
            raise IdentityError(f"a command of specialize has more than {SYNCHRONOUS_LONGEST} characters: {command[:60]}")
    return commands


def _deployment(settings: ET.Element, answers: Answers, architecture: str) -> None:
    commands = specialize_commands(answers)
    if not commands:
        return
    parent = ET.SubElement(component(settings, DEPLOYMENT, architecture), f"{{{NS}}}RunSynchronous")
    for number, command in enumerate(commands, 1):
        item = add(parent, "RunSynchronousCommand")
        put(item, "Order", str(number))
        put(item, "Path", command)


def _shell_specialize(settings: ET.Element, answers: Answers, architecture: str) -> None:
    shell = component(settings, SHELL, architecture)
    for name, text in (
        ("ComputerName", answers.computer_name),
        ("ProductKey", answers.product_key),
        ("RegisteredOrganization", answers.organization),
        ("RegisteredOwner", answers.full_name),
        ("TimeZone", answers.time_zone),
    ):
        if text:
            put(shell, name, text)


def _join(settings: ET.Element, answers: Answers, architecture: str) -> None:
    if answers.join.declared:
        identify(component(settings, JOIN, architecture), answers.join)


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


def _network(settings: ET.Element, interfaces: Iterable[Interface], architecture: str) -> None:
    interfaces = list(interfaces)
    if not interfaces:
        return
    listed = ET.SubElement(component(settings, NETWORK, architecture), f"{{{NS}}}Interfaces")
    for interface in interfaces:
        _addresses(add(listed, "Interface"), interface)
    if any(interface.dns for interface in interfaces):
        listed = ET.SubElement(component(settings, RESOLVER, architecture), f"{{{NS}}}Interfaces")
        for interface in interfaces:
            item = add(listed, "Interface")
            put(item, "Identifier", dashed(interface.mac).upper())
            servers = ET.SubElement(item, f"{{{NS}}}DNSServerSearchOrder")
            for number, server in enumerate(interface.dns, 1):
                _keyed(servers, str(number), server)


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


def _language(settings: ET.Element, answers: Answers, architecture: str) -> None:
    if answers.locale:
        part = component(settings, LANGUAGE, architecture)
        for name in ("InputLocale", "SystemLocale", "UILanguage", "UserLocale"):
            put(part, name, answers.locale)


def _shell_oobe(settings: ET.Element, answers: Answers, architecture: str) -> None:
    shell = component(settings, SHELL, architecture)
    if answers.auto_logon:
        account = next(one for one in answers.accounts if one.name.lower() == answers.auto_logon.account.lower())
        put(shell, "AutoLogon/Password/Value", account.password)
        put(shell, "AutoLogon/Password/PlainText", "true")
        put(shell, "AutoLogon/Enabled", "true")
        # Windows adds one.
        put(shell, "AutoLogon/LogonCount", str(answers.auto_logon.count))
        put(shell, "AutoLogon/Username", account.name)
    if answers.first_logon_commands:
        listed = ET.SubElement(shell, f"{{{NS}}}FirstLogonCommands")
        for number, command in enumerate(answers.first_logon_commands, 1):
            item = add(listed, "SynchronousCommand")
            put(item, "CommandLine", command)
            put(item, "Order", str(number))
    for name, text in (
        ("HideEULAPage", "true"),
        ("HideOEMRegistrationScreen", "true"),
        ("HideOnlineAccountScreens", "true"),
        ("HideWirelessSetupInOOBE", "true"),
        ("ProtectYourPC", "3"),
    ):
        put(shell, f"OOBE/{name}", text)
    if answers.accounts:
        listed = ET.SubElement(ET.SubElement(shell, f"{{{NS}}}UserAccounts"), f"{{{NS}}}LocalAccounts")
        for account in answers.accounts:
            item = add(listed, "LocalAccount")
            put(item, "Password/Value", account.password)
            put(item, "Password/PlainText", "true")
            put(item, "DisplayName", account.display_name or account.name)
            put(item, "Group", account.group)
            put(item, "Name", account.name)
