# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What deletes the answer file, and the secrets in it, when Windows has used it.

A task that specialize registers does it, for SetupComplete.cmd may end before its end, and Windows does not run it where an OEM
product key is in use. The task waits until Windows says that its setup is complete: oobeSystem still reads the file.
"""

from __future__ import annotations

SCRIPT = "Windows/Setup/Scripts/reimage-clean-up.ps1"
_RUN = r"powershell -NoProfile -ExecutionPolicy Bypass -File C:\Windows\Setup\Scripts\reimage-clean-up.ps1"
COMMAND = rf'schtasks /create /f /ru SYSTEM /sc onstart /tn reimage-clean-up /tr "{_RUN}"'

# The task goes last, and only if all is deleted; it starts again with Windows until then.
TEXT = r"""$ErrorActionPreference = 'Stop'
$state = 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Setup\State'
while ((Get-ItemProperty $state).ImageState -ne 'IMAGE_STATE_COMPLETE') { Start-Sleep 5 }
$files = 'C:\Windows\Panther\unattend.xml', 'C:\Windows\Panther\Unattend\*.xml', 'C:\Windows\System32\Sysprep\unattend.xml'
$files | Where-Object { Test-Path $_ } | ForEach-Object { Remove-Item $_ -Force }
Remove-ItemProperty HKLM:\SYSTEM\Setup UnattendFile -ErrorAction SilentlyContinue
schtasks /delete /f /tn reimage-clean-up
Remove-Item $PSCommandPath
""".replace("\n", "\r\n")
