# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Accounts for machines in a domain, made before the machines exist: what Windows calls an offline domain join.

The blob holds the password of the machine's account. It goes from a file that only its owner can read into the answer file, and
nowhere else. Making the same account again invalidates the blob that was made before, so that is done once for a deployment and
never repeated blindly.
Source: net(8), OFFLINEJOIN; Microsoft, "Offline domain join (Djoin.exe) step-by-step guide".
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.identity.errors import IdentityError, naming
from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import check_name
from ansible_collections.reimage.lab.plugins.module_utils.names import check_dns_name

_TIMEOUT = 120
_LOGON_FAILURE = 46  # exit code of net
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Domain:
    """A domain, and who may make accounts in it."""

    name: str
    username: str
    password: str = field(repr=False)
    ou: str = ""
    controller: str = ""
    netbios_name: str = ""


def provision(domain: Domain, computer_name: str, cache: Path, deployment: str, *, dry_run: bool = False) -> tuple[Path, bool]:
    """Return the file with a machine's blob, and whether it was made now.

    :param cache: The folder of the blobs.
    :param deployment: What makes this deployment another than the last one; with the same, the blob that there is is returned.
    :raises IdentityError: The domain refused, or the blob is not this machine's.
    """
    check_name(computer_name)
    if not _DEPLOYMENT.fullmatch(deployment):
        raise IdentityError(f"deployment: {deployment!r} cannot be used: letters, digits, '.', '_' and '-', at most 64")
    with naming("domain"):
        check_dns_name(domain.name)
    if "." not in domain.name:
        raise IdentityError(f"domain: {domain.name!r} is not the whole DNS name of a domain, such as lab.example.org")
    file = cache / f"{computer_name.lower()}-{deployment}.odj"
    if file.exists():
        check_blob(file.read_text(encoding="ascii"), computer_name)
        return file, False
    if dry_run:
        return file, True
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    blob = _provision(domain, computer_name)
    check_blob(blob, computer_name)
    temporary = file.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(blob)
    temporary.replace(file)
    return file, True


def check_blob(blob: str, computer_name: str) -> None:
    """Raise C(IdentityError) if a blob is damaged, or another machine's."""
    try:
        raw = base64.b64decode(blob.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise IdentityError("offline_blob: this is not what net offlinejoin or djoin made: it is not base64") from error
    if computer_name.lower().encode("utf-16-le") + b"\0\0" not in raw.decode("latin-1").lower().encode("latin-1"):
        raise IdentityError(f"offline_blob: it was made for another machine than {computer_name}")


def _provision(domain: Domain, computer_name: str) -> str:
    short = domain.netbios_name or domain.name.split(".", 1)[0].upper()
    with tempfile.TemporaryDirectory(prefix="reimage-join-") as folder:
        configuration, account, saved = (Path(folder, name) for name in ("smb.conf", "account", "blob"))
        configuration.write_text(
            f"[global]\nrealm = {domain.name.upper()}\nworkgroup = {short}\nsecurity = ads\nnetbios name = {computer_name}\n"
            f"private dir = {folder}\nlock directory = {folder}\nstate directory = {folder}\ncache directory = {folder}\n",
            encoding="utf-8",
        )
        account.touch(0o600)
        account.write_text(f"username = {domain.username}\npassword = {domain.password}\ndomain = {short}\n", encoding="utf-8")
        wanted = [f"domain={domain.name}", f"machine_name={computer_name}", f"savefile={saved}"]
        wanted += [f"machine_account_ou={domain.ou}"] if domain.ou else []
        wanted += [f"dcname={domain.controller}"] if domain.controller else []
        try:
            run(["net", "-s", str(configuration), "-A", str(account), "offlinejoin", "provision", *wanted], timeout=_TIMEOUT)
        except CommandError as error:
            raise IdentityError(_explain(error, domain, computer_name)) from error
        return saved.read_bytes().decode("utf-16").rstrip("\0").strip()


def _explain(error: CommandError, domain: Domain, computer_name: str) -> str:
    said = (error.stdout + error.stderr).decode(errors="replace").strip()
    what = f"{computer_name} could not be given an account in {domain.name}"
    if error.returncode == _LOGON_FAILURE or "logon is invalid" in said:
        return f"{what}: the domain refuses {domain.username}, or the password is wrong"
    if error.returncode is None:
        return f"{what}: {error}"
    return f"{what}: {said.splitlines()[-1] if said else error}"
