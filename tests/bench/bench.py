# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure the engine against the rivals' own pipelines, in one run, all in memory: C(make bench).

Writes C(var/bench/bench.json); C(--document) makes docs/benchmarks.md of it. Ratios count: figures drift with the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import master
import network
import pipelines
from document import ratios, write
from master import MIB, loop, partition_size, sh
from pipelines import Bench

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "var/bench/bench.json"
Measured = dict[str, list[float]]
BLANK, OTHER = bytes(16 * MIB), os.urandom(16 * MIB)  # what a target holds before
ONE_CORE = ("taskset", "-c", "0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=3072, help="MiB that the master uses")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, in turn; medians are reported")
    parser.add_argument("--scaling", type=int, nargs="*", default=[1024, 2048, 4096], help="other sizes, in MiB")
    parser.add_argument("--document", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    if os.geteuid():
        raise SystemExit("measuring needs root: loop devices, memory filesystems, network namespaces")
    with tempfile.TemporaryDirectory(prefix="reimage-bench-") as name:
        sh("mount", "-t", "tmpfs", "-o", "size=90%", "tmpfs", name)
        try:
            result = measure(Path(name), options.size * MIB, options.repeat)
            result["scaling"] = [scale(Path(name), size * MIB) for size in options.scaling]
        finally:
            sh("umount", name)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    for line in report(result):
        print(line)
    if options.document:
        write(result, ROOT / "docs")


def measure(folder: Path, used: int, repeat: int) -> dict[str, Any]:
    """Measure everything at one size."""
    lab = Lab(folder, used)
    seconds: Measured = {}

    def take(runs: dict[str, Callable[[], float]]) -> None:
        for number in range(repeat):
            for name, run in runs.items():
                if number and "capture" in name and "gzip" in name:
                    continue  # a minute of nothing but gzip, which once is enough to see
                warm(folder, used)
                seconds.setdefault(name, []).append(run())
                print(f"{number + 1}/{repeat}  {name:36} {seconds[name][-1]:7.2f} s", flush=True)

    take(lab.runs())
    lab.scatter()
    take(lab.runs_when_scattered())
    result = {
        "machine": {"processor": processor(), "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()},
        "used": lab.used,
        "repeat": repeat,
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "spread": {name: [min(values), max(values)] for name, values in seconds.items()},
        "stored": lab.stored,
        "chunks_changed": lab.chunks_changed,
        "memory": lab.memory,
        "link": lab.link,
    }
    lab.clear()
    return result


def warm(folder: Path, used: int) -> None:
    """Have enough free memory to write to. A hypervisor takes back what lies idle, and who writes next would pay for that."""
    sh("dd", "if=/dev/zero", f"of={folder}/warm", "bs=1M", f"count={used * 3 // 4 // MIB}", "status=none")
    (folder / "warm").unlink()


class Lab:
    """Two versions of a master, a target, and their images in all formats, in one folder in memory."""

    def __init__(self, folder: Path, used: int) -> None:
        self.folder = folder
        self.bench = Bench(folder, pipelines.compile_preload(folder))
        self.disk, self.newer, self.target, self.store = (folder / name for name in ("old.raw", "new.raw", "target.raw", "store"))
        self.older_store = folder / "older-store"
        self.stored: dict[str, int] = {}
        self.memory: dict[str, float] = {}
        self.link: dict[str, float] = {}
        self.chunks_changed: dict[str, float] = {}  # of the newer version, as a share of those used
        self.fetched = 0.0
        print(f"making a master of {used // MIB} MiB", flush=True)
        master.make(self.disk, used)
        self._update(together=True)
        self.size = partition_size(self.disk)
        self.store.mkdir()
        for version, disk in (("1", self.disk), ("2", self.newer)):
            said = self.bench.ours("capture", str(self.store), disk, version)[1]
            self.used = int(said["used"])
            self.stored[f"ours {version}"] = int(said["stored"])
            if version == "1":
                sh("cp", "-al", self.store, self.older_store)
        from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.descriptions import read_index
        from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

        # Of the rivals' copies all but the last sector is compared, which partclone leaves out.
        extents = read_index(PathStore(self.store), "master", "1")[0].partitions[0].extents.pairs
        self.extents = [(offset, length) for offset, length in extents if offset + length < self.size]
        self.wanted = master.digest(self.disk, self.extents)
        self._fill()

    def runs(self) -> dict[str, Callable[[], float]]:
        """Return what to measure, in the order to do it."""
        return {
            "capture: FOG, as shipped": lambda: self._capture(pipelines.FOG_CAPTURE, "fog.zst", sleeps=True),
            "capture: FOG": lambda: self._capture(pipelines.FOG_CAPTURE, "fog.zst"),
            "capture: Clonezilla zstd": lambda: self._capture(pipelines.CLONEZILLA_CAPTURE, "clonezilla.zst"),
            "capture: Clonezilla gzip": lambda: self._capture(pipelines.CLONEZILLA_CAPTURE_GZIP, "clonezilla.gz"),
            "capture: zstd of the partition": lambda: self._capture(pipelines.DD_CAPTURE, "dd.zst"),
            "capture: ours": self._capture_ours,
            "capture: ours, 5 % changed": self._capture_changed,
            "restore: FOG, as shipped": lambda: self._restore(pipelines.FOG_RESTORE, "fog.zst", sleeps=True),
            "restore: FOG": lambda: self._restore(pipelines.FOG_RESTORE, "fog.zst"),
            "restore: Clonezilla zstd": lambda: self._restore(pipelines.CLONEZILLA_ZSTD, "clonezilla.zst"),
            "restore: Clonezilla gzip": lambda: self._restore(pipelines.CLONEZILLA_GZIP, "clonezilla.gz"),
            "restore: zstd | dd": lambda: self._restore(pipelines.DD_RESTORE, "dd.zst"),
            "restore: ours": lambda: self._deploy("1", onto=OTHER),
            "restore: nothing but decoding and hashing": self._decode,
            "restore: ours, onto a new disk": lambda: self._deploy("1", onto=BLANK),
            "restore: ours, 5 % changed": self._deploy_changed,
            "restore: ours, nothing changed": lambda: self._deploy("1", unchanged=True),
            "restore: ours, HTTP": lambda: self._over_http(""),
            "restore: ours, HTTP at 1 Gbit/s": lambda: self._over_http("1gbit"),
            "capture: FOG, one core": lambda: self._capture(pipelines.FOG_CAPTURE, "fog.zst", *ONE_CORE),
            "capture: ours, one core": lambda: self._capture_ours(*ONE_CORE),
            "restore: FOG, one core": lambda: self._restore(pipelines.FOG_RESTORE, "fog.zst", *ONE_CORE),
            "restore: ours, one core": lambda: self._deploy("1", *ONE_CORE, onto=OTHER),
            "restore: ours, nothing changed, one core": lambda: self._deploy("1", *ONE_CORE, unchanged=True),
        }

    def scatter(self) -> None:
        """Have another newer version, whose changes are all over the disk."""
        self._update(together=False)
        sh("rm", "-rf", self.store)
        sh("cp", "-al", self.older_store, self.store)
        self.bench.ours("capture", str(self.store), self.newer, "2")

    def runs_when_scattered(self) -> dict[str, Callable[[], float]]:
        """Return what to measure again after C(scatter)."""
        return {
            "capture: ours, 5 % changed, scattered": self._capture_changed,
            "restore: ours, 5 % changed, scattered": self._deploy_changed,
        }

    def clear(self) -> None:
        """Make room for the next size."""
        for path in self.folder.iterdir():
            sh("rm", "-rf", path)

    def _update(self, *, together: bool) -> None:
        sh("cp", "--sparse=always", self.disk, self.newer)
        master.change(self.newer, 0.05, together=together)
        self._change = "together" if together else "scattered"

    def _fill(self, content: bytes = BLANK) -> None:
        """Have the target hold zeros, or something else again and again.

        It keeps its memory, for a disk does not have to be allocated while it is written.
        """
        left = self.disk.stat().st_size
        with self.target.open("r+b" if self.target.exists() else "wb") as file:
            while left:
                left -= file.write(content[:left])

    def _capture(self, template: str, image: str, *prefix: str, sleeps: bool = False) -> float:
        (self.folder / image).unlink(missing_ok=True)
        with loop(self.disk, size=self.size) as device:
            seconds = self.bench.rival(template, device, image, *prefix, sleeps=sleeps)
        self.stored[image] = (self.folder / image).stat().st_size
        return seconds

    def _restore(self, template: str, image: str, *prefix: str, sleeps: bool = False) -> float:
        self._fill()
        with loop(self.target, size=self.size) as device:
            seconds = self.bench.rival(template, device, image, *prefix, sleeps=sleeps)
        self._check(image)
        return seconds

    def _capture_ours(self, *prefix: str) -> float:
        store = self.folder / "fresh"
        store.mkdir()
        seconds, said = self.bench.ours("capture", str(store), self.disk, "1", *prefix)
        self.memory["capture"] = max(said["memory"], self.memory.get("capture", 0))
        sh("rm", "-rf", store)
        return seconds

    def _capture_changed(self) -> float:
        """Into a store that has the older version only."""
        store = self.folder / "fresh"
        sh("cp", "-al", self.older_store, store)
        seconds, said = self.bench.ours("capture", str(store), self.newer, "2")
        self.chunks_changed[self._change] = said["chunks_new"] * MIB / said["used"]
        sh("rm", "-rf", store)
        return seconds

    def _deploy(self, version: str, *prefix: str, store: str = "", onto: bytes = b"", unchanged: bool = False) -> float:
        if onto:
            self._fill(onto)
        seconds, said = self.bench.ours("deploy", store or str(self.store), self.target, version, *prefix)
        self.memory["restore"] = max(said["memory"], self.memory.get("restore", 0))
        if said["changed"] == unchanged:
            raise SystemExit(f"a deploy said changed: {said['changed']}")
        if version == "1":
            self._check("ours")
        self.fetched = said["fetched"] / said["stages"]["writing"]
        return seconds

    def _decode(self) -> float:
        """Decode and hash the chunks of an image, and keep nothing: what no deploy can be faster than."""
        return self.bench.ours("decode", str(self.store), self.target, "1")[0]

    def _deploy_changed(self) -> float:
        """Bring a target that holds the newer version back to the older one."""
        self.bench.ours("deploy", str(self.store), self.target, "2")
        return self._deploy("1")

    def _over_http(self, rate: str) -> float:
        with network.served(self.store, self.folder, rate) as (url, client):
            seconds = self._deploy("1", *client, store=url, onto=OTHER)
        if rate:
            # While it fetches and writes. A gigabit carries TCP segments of 1448 bytes in frames that tc counts as 1514.
            self.link["share"] = self.fetched / (1e9 / 8 * 1448 / 1514)
        return seconds

    def _check(self, what: str) -> None:
        if master.digest(self.target, self.extents) != self.wanted:
            raise SystemExit(f"{what}: the target does not hold the master")


def scale(folder: Path, used: int) -> dict[str, Any]:
    """Measure the three kinds of deploy at another size."""
    lab = Lab(folder, used)
    runs = lab.runs()
    names = ("capture: ours", "restore: FOG", "restore: ours", "restore: ours, 5 % changed", "restore: ours, nothing changed")
    lab._capture(pipelines.FOG_CAPTURE, "fog.zst")
    seconds = {}
    for name in names:
        warm(folder, used)
        seconds[name] = min(runs[name]() for _number in range(2))
    lab.clear()
    return {"used": lab.used, "seconds": seconds, "memory": lab.memory}


def processor() -> str:
    """Return what the processor calls itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def report(result: dict[str, Any]) -> list[str]:
    """Return lines for a terminal."""
    used = result["used"] / MIB
    lines = [f"{name:34} {seconds:7.2f} s {used / seconds:7.0f} MiB/s" for name, seconds in result["seconds"].items()]
    lines += [f"{name}: {got:.2f} x, promised {wanted} x" for name, got, wanted in ratios(result)]
    return [*lines, f"measured {time.strftime('%F %T')}, {used:.0f} MiB used, memory {result['memory']}, link {result['link']}"]


if __name__ == "__main__":
    main()
