# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine that the role can walk: its automation and its production are each a real sshd, on addresses of network namespaces.

What they run, runs on this computer, in mount and UTS namespaces of its own; C(reboot) there starts the sshd of production and
stops that of automation. The boot server is this computer too, without nginx, dnsmasq and systemd: a check-in is written into the
folder into which nginx would put it, and judged at once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import yaml
from ansible_collections.reimage.lab.plugins.module_utils.command import wait_until

ROOT = Path(__file__).resolve().parents[3]
NAME, MAC = "pc-01", "52:54:00:00:00:01"
CONTROLLER, PRODUCTION, AUTOMATION = "192.0.2.1", "192.0.2.66", "192.0.2.67"
STUBS = {
    "writing": {
        "name": "Write",
        "ansible.builtin.raw": "{{ test_log }} writing; sleep {{ test_writing }}; {{ test_log }} written",
    },
    "verified": {
        "name": "Give an identity",
        "ansible.builtin.raw": "mkdir -p /var/lib/reimage; echo '{{ record | to_json }}' >/var/lib/reimage/identity.json",
        "vars": {"record": {"hostname": "{{ inventory_hostname }}", "image": "{{ reimage_wanted }}"}},
    },
}
# What the machine does when it is switched on.
CHECK_IN = """
import json, pathlib, sys, time
sys.path.insert(0, sys.argv[3])
from ansible_collections.reimage.lab.plugins.module_utils.boot.arrivals import receive
from ansible_collections.reimage.lab.plugins.module_utils.boot.layout import Layout
boot, checkin = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
token = json.loads(next(boot.glob("tokens/*.json")).read_text())["token"]
pathlib.Path(sys.argv[4]).write_text(f"reimage.token={token} quiet")
script = f"/boot/machines/{checkin['mac'].replace(':', '-')}.ipxe"
fetched = {"at": time.time(), "client": checkin["address"], "uri": script, "status": 200}
(boot / "access.log").write_text(json.dumps(fetched))
(boot / "arrivals" / f"{token}@{checkin['address']}@{'0' * 32}.json").write_text(json.dumps(checkin))
print(*receive(Layout(boot)))
"""
SSHD = """
exec /usr/sbin/sshd -D -e -f /dev/null -o ListenAddress={address} -o HostKey={folder}/host \
  -o AuthorizedKeysFile={folder}/key.pub -o StrictModes=no -o UsePAM=no -o PidFile={folder}/{place}.pid \
  -o "SetEnv=PLACE={place} PATH={folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""
REBOOT = """#!/bin/sh
setsid sh {folder}/production.sh >>{folder}/production.log 2>&1 </dev/null &
kill $(cat {folder}/automation.pid)
"""


class Machine:
    """One machine, its boot server and its controller; C(with) takes all of it away again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.boot = folder / "srv/boot"
        self.log = folder / "log"
        self._ours, self._its = (f"walk-{os.getpid()}-{end}" for end in ("c", "m"))
        self._processes: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Machine:
        for name in ("host", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.folder / name], check=True)
        (self.folder / "disk.raw").write_bytes(bytes(1 << 20))
        for name in ("http/machines", "hosts", "tokens", "checkin", "arrivals", "outcomes", "records", "state"):
            (self.boot / name).mkdir(parents=True)
        for name in ("kernel", "initrd"):
            (self.boot / "http" / name).touch()
        targets = {"automation": {"kernel": "kernel", "initrd": "initrd"}}
        network = {"url": f"http://{CONTROLLER}", "subnets": ["192.0.2.0/24"], "access_log": str(self.boot / "access.log")}
        (self.boot / "boot.json").write_text(json.dumps({**network, "targets": targets}))
        (self.folder / "cmdline").touch()
        self._write_programs()
        try:
            self._make_network()
            self._start_automation()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._processes:
            kill(process)
        for namespace in (self._ours, self._its):
            listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
            for pid in map(int, listed.split()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", namespace], check=False)

    def _write_programs(self) -> None:
        programs = self.folder / "bin"
        programs.mkdir()
        (programs / "reboot").write_text(REBOOT.format(folder=self.folder))
        (programs / "log").write_text(f'#!/bin/sh\necho "$PLACE $*" >>{self.log}\n')
        (programs / "systemctl").write_text("#!/bin/sh\n")  # there is no dnsmasq that could reload
        (programs / "check-in").write_text(CHECK_IN)
        for program in programs.iterdir():
            program.chmod(0o755)
        for place, address in (("automation", AUTOMATION), ("production", PRODUCTION)):
            script = SSHD.format(address=address, folder=self.folder, place=place)
            (self.folder / f"{place}.sh").write_text(script)

    def _make_network(self) -> None:
        for words in (
            f"netns add {self._ours}",
            f"netns add {self._its}",
            f"-n {self._ours} link add c type veth peer name m netns {self._its}",
            f"-n {self._ours} address add {CONTROLLER}/24 dev c",
            f"-n {self._its} address add {PRODUCTION}/24 dev m",
            f"-n {self._its} address add {AUTOMATION}/24 dev m",
            f"-n {self._ours} link set dev c up",
            f"-n {self._ours} link set dev lo up",
            f"-n {self._its} link set dev m up",
        ):
            subprocess.run(["ip", *words.split()], check=True)

    def _start_automation(self) -> None:
        hidden = "mount -t tmpfs tmpfs /run; mkdir /run/sshd /run/reimage; mount -t tmpfs tmpfs /var/lib"
        hidden = f"{hidden}; mount --bind {self.folder}/cmdline /proc/cmdline"
        script = f"hostname {NAME}; {hidden}; . {self.folder}/automation.sh"
        words = ["ip", "netns", "exec", self._its, "unshare", "--uts", "sh", "-ec", script]
        with (self.folder / "automation.log").open("wb") as log:
            self._processes.append(subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True))
        wait_until(lambda: b"listening on" in (self.folder / "automation.log").read_bytes().lower(), 20, "sshd to listen")

    def variables(self, **more: Any) -> dict[str, Any]:
        """Return what a person would set, and what the stubs want."""
        host_key = (self.folder / "host.pub").read_text().strip()
        return {
            "reimage_root": str(self.boot.parent),
            "reimage_server": "localhost",
            "reimage_server_address": CONTROLLER,
            "reimage_image": "classroom",
            "reimage_looked_up": {"images": [{"name": "classroom", "version": "1", "digest": ""}]},
            "reimage_power_tasks": str(self.folder / "power.yml"),
            "reimage_known_hosts": str(self.folder / "known_hosts"),
            "reimage_booted_timeout": 60,
            "reimage_walks": self.walks(),
            # The results of modules that the stubs stand in for.
            "reimage_deployed": {"disk": str(self.folder / "disk.raw")},
            "reimage_identified": {"host_keys": [host_key]},
            "test_log": str(self.folder / "bin/log"),
            "test_writing": 0,
            **more,
        }

    def walks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the walks of the role, in which nothing is written to a disk."""
        walks: dict[str, list[dict[str, Any]]] = yaml.safe_load((ROOT / "roles/reimage/vars/walk.yml").read_text())[
            "reimage_walks"
        ]
        for step in walks["reimage"]:
            if step.get("state") in STUBS:
                step["do"] = str(self.folder / f"{step['state']}.yml")
                (self.folder / f"{step['state']}.yml").write_text(json.dumps([STUBS[step["state"]]]))
        return walks

    def command(self, **variables: Any) -> list[str]:
        """Return the command that reimages the machine."""
        checkin: dict[str, Any] = {"protocol": 1, "mac": MAC, "macs": [MAC], "address": AUTOMATION, "firmware": "bios"}
        checkin.update(dict.fromkeys(("uuid", "serial", "vendor", "product", "build"), ""))
        checkin.update(memory_bytes=1 << 30, cpus=1, disks=[], host_keys=[(self.folder / "host.pub").read_text().strip()])
        places = [str(ROOT / "var/collections"), str(self.folder / "cmdline")]
        come = [sys.executable, str(self.folder / "bin/check-in"), str(self.boot), json.dumps(checkin), *places]
        power = [{"name": "Switch on", "ansible.builtin.command": {"argv": come}, "delegate_to": "localhost"}]
        (self.folder / "power.yml").write_text(json.dumps(power))
        ssh = {
            "ansible_host": PRODUCTION,
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(self.folder / "key"),
            "ansible_ssh_common_args": "-F /dev/null -o IdentitiesOnly=yes",
            "ansible_control_path_dir": f"{self.folder}/s",
            "reimage_macs": [MAC],
        }
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (self.folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {NAME: ssh, "localhost": local}}}))
        role = {"ansible.builtin.import_role": {"name": "reimage.lab.reimage"}}
        play = {"hosts": NAME, "gather_facts": False, "tasks": [role]}
        (self.folder / "play.yml").write_text(json.dumps([play]))
        (self.folder / "variables.json").write_text(json.dumps(self.variables(**variables)))
        given = ["-i", str(self.folder / "inventory.json"), "-e", f"@{self.folder}/variables.json"]
        return ["ip", "netns", "exec", self._ours, "ansible-playbook", *given, str(self.folder / "play.yml")]

    def elsewhere(self, command: list[str]) -> list[str]:
        """Return a command as it would be given on another controller."""
        return ["unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh", *command]

    def start(self, command: list[str], log: IO[str]) -> subprocess.Popen[Any]:
        """Start a run."""
        environment = {
            **os.environ,
            "PLACE": "controller",
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "REIMAGE_REPORT_DIRECTORY": str(self.folder / "report"),
            "PYTHONUNBUFFERED": "1",
        }
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        self._processes.append(process)
        return process

    def run(self, command: list[str]) -> tuple[int, str]:
        """Run it, and return its exit status and what it said."""
        path = self.folder / "said"
        with path.open("w") as log:
            status = self.start(command, log).wait(300)
        return status, path.read_text()

    def record(self) -> dict[str, Any]:
        """Return what the boot server knows of the machine."""
        path = self.boot / "state" / f"{MAC.replace(':', '-')}.json"
        return json.loads(path.read_text()) if path.exists() else {"state": "registered", "history": []}

    def logged(self) -> list[str]:
        """Return what stubs and hooks have logged, each line after the place where it was."""
        return self.log.read_text().splitlines() if self.log.exists() else []


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill a run with its workers, which have made sessions of theirs."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=False)
    for pid in (process.pid, *map(int, listed.stdout.split())):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
