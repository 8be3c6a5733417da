# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What makes a new Windows reachable for Ansible.

The listener's certificate is made when the machine has its name, so a task that specialize registers does the work at the next
start. SetupComplete.cmd would be the usual place, but Windows does not run it where an OEM product key is in use.
Sources: Ansible, "Windows Remote Management"; Microsoft, "OpenSSH Server configuration for Windows".
"""

from __future__ import annotations

from ansible_collections.reimage.lab.plugins.module_utils.identity.windows.answers import Answers

SCRIPT = "Windows/Setup/Scripts/reimage-remoting.ps1"
_RUN = r"powershell -NoProfile -ExecutionPolicy Bypass -File C:\Windows\Setup\Scripts\reimage-remoting.ps1"

_WINRM = r"""
Enable-PSRemoting -Force -SkipNetworkProfileCheck
$certificate = New-SelfSignedCertificate -DnsName $env:COMPUTERNAME -CertStoreLocation Cert:\LocalMachine\My
Get-ChildItem WSMan:\localhost\Listener | Where-Object { $_.Keys -contains 'Transport=HTTPS' } | Remove-Item -Recurse
New-Item WSMan:\localhost\Listener -Transport HTTPS -Address * -CertificateThumbPrint $certificate.Thumbprint -Force
New-NetFirewallRule -DisplayName 'WinRM over HTTPS' -Direction Inbound -Protocol TCP -LocalPort 5986 -Action Allow
Set-ItemProperty HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System LocalAccountTokenFilterPolicy 1 -Type DWord
"""

_SSH = r"""
if (-not (Get-Service sshd -ErrorAction SilentlyContinue)) {{ Add-WindowsCapability -Online -Name OpenSSH.Server~~~~0.0.1.0 }}
$file = "$env:ProgramData\ssh\administrators_authorized_keys"
New-Item (Split-Path $file) -ItemType Directory -Force
Set-Content $file -Encoding ascii -Value @'
{keys}
'@
icacls $file /inheritance:r /grant '*S-1-5-32-544:F' /grant '*S-1-5-18:F'
Remove-Item "$env:ProgramData\ssh\ssh_host_*" -ErrorAction SilentlyContinue
Set-Service sshd -StartupType Automatic
Restart-Service sshd
New-NetFirewallRule -DisplayName 'OpenSSH server' -Direction Inbound -Protocol TCP -LocalPort 22 -Action Allow
"""


def first_commands(answers: Answers) -> list[str]:
    """Return what specialize runs for it: a task that does the work at the next start, and then removes itself."""
    if not script(answers):
        return []
    return [rf'schtasks /create /f /ru SYSTEM /sc onstart /tn reimage-remoting /tr "{_RUN}"']


def script(answers: Answers) -> str:
    """Return the script for PowerShell; empty if nothing is to be reachable."""
    if answers.remoting == "none":
        return ""
    body = _WINRM if answers.remoting == "winrm" else _SSH.format(keys="\n".join(answers.ssh_keys))
    end = "schtasks /delete /f /tn reimage-remoting\nRemove-Item $PSCommandPath\n"
    return f"$ErrorActionPreference = 'Stop'\n{body.strip()}\n{end}".replace("\n", "\r\n")
