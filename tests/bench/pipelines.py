# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rivals' own pipelines, as they ship them, and ours, each as a command for a shell.

Sources: FOG 1.5.10, fos, C(funcs.sh) (writeImage, uploadFormat); Clonezilla 5.4, C(ocs-functions).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from master import sh

ROOT = Path(__file__).resolve().parents[2]
GUNZIP = "unpigz -c" if shutil.which("unpigz") else "gunzip -c"
GZIP = "pigz -c" if shutil.which("pigz") else "gzip -c"

FOG_RESTORE = "cat {image} | zstdmt -dc | partclone.restore --ignore_crc -O {device} -N -f 1"
FOG_CAPTURE = "partclone.ntfs -c -s {device} -O - -N -f 1 -a0 | zstdmt -3 --rsyncable > {image}"
CLONEZILLA_ZSTD = "cat {image} | zstd -T0 -dc | partclone.ntfs -z 10485760 -L {log} -s - -r -o {device}"
CLONEZILLA_GZIP = "cat {image} | " + GUNZIP + " | partclone.ntfs -z 10485760 -L {log} -s - -r -o {device}"
CLONEZILLA_CAPTURE = "partclone.ntfs -L {log} -z 10485760 -c -s {device} --output - | zstd -c -T0 -3 > {image}"
CLONEZILLA_CAPTURE_GZIP = "partclone.ntfs -L {log} -z 10485760 -c -s {device} --output - | " + GZIP + " > {image}"
DD_CAPTURE = "zstd -c -T0 -3 < {device} > {image}"
DD_RESTORE = "zstd -dc {image} | dd of={device} bs=1M conv=sparse,notrunc status=none"

RUNNER = """
import json, re, sys, time
from pathlib import Path
from ansible_collections.reimage.lab.plugins.module_utils.imaging import capture, caibx, deploy, hashing, work, zstd
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_ids, read_index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.opening import open_folder, open_store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources
action, where, disk, version = sys.argv[1:]
stages = {}
def note(progress):
    stages.setdefault(progress.stage, time.monotonic())
if action == "capture":
    done = capture.capture(open_folder(where), disk, "master", version)
    result = {"stored": done.bytes_new, "used": done.index.bytes_used, "chunks_new": done.chunks_new}
elif action == "decode":
    source, codec = open_store(where), zstd.Codec()
    index = read_index(source, "master", version)[0]
    ids = {identifier for region in index.partitions for identifier in read_ids(source, index, region)}
    digest = hashing.blake3 if hashing.HAS_BLAKE3 else hashing.sha256
    work.each(ids, lambda one: digest(codec.decompress(source.chunk(one), caibx.CHUNK_SIZE)), work.threads())
    result = {}
else:
    source = open_store(where)
    done = deploy.deploy(Sources([source]), read_index(source, "master", version)[0], disk, callback=note)
    ends = [*list(stages.values())[1:], time.monotonic()]
    result = {"fetched": done.bytes_fetched, "changed": done.changed,
              "stages": {name: end - begin for (name, begin), end in zip(stages.items(), ends)}}
result["memory"] = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
print(json.dumps(result))
"""


@dataclass
class Bench:
    """Where everything is, and how rivals are preloaded."""

    folder: Path
    preload: Path

    def rival(self, template: str, device: str, image: str, *prefix: str, sleeps: bool = False) -> float:
        """Run a rival's pipeline, behind some words such as taskset's, and return the seconds that it took."""
        command = template.format(device=device, image=self.folder / image, log=self.folder / "partclone.log")
        environment = {**os.environ, "TERM": "linux", **({} if sleeps else {"LD_PRELOAD": str(self.preload)})}
        began = time.monotonic()
        done = subprocess.run(
            [*prefix, "bash", "-o", "pipefail", "-c", command], env=environment, capture_output=True, check=False
        )
        seconds = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"{command}: failed:\n{done.stderr.decode(errors='replace')[-800:]}")
        return seconds

    def ours(self, action: str, store: str, disk: Path, version: str, *prefix: str) -> tuple[float, dict[str, float]]:
        """Run our engine in a process of its own; return the seconds that it took, its start included, and what it says."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "var/collections")}
        arguments = [*prefix, sys.executable, "-c", RUNNER, action, store, str(disk), version]
        began = time.monotonic()
        done = subprocess.run(arguments, env=environment, capture_output=True, check=False)
        seconds = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"{action}: failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
        return seconds, json.loads(done.stdout)


def compile_preload(folder: Path) -> Path:
    """Build the library that takes the sleeps out of partclone."""
    library = folder / "nosleep.so"
    sh("gcc", "-shared", "-fPIC", "-O2", "-o", library, Path(__file__).with_name("nosleep.c"))
    return library
