# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Say what each Debian package costs: C(prices.py ROOT INFO), the unpacked image and the folder of dpkg's lists of files.

Prints a JSON object: package to bytes in memory, and bytes when compressed alone, which is a little more than it adds.
"""

import json
import subprocess
import sys
from pathlib import Path


def owners(root: Path, info: Path) -> "dict[Path, str]":
    """Return the package of each file, by where the file really is: /lib and /bin are links."""
    found = {}
    for listing in sorted(info.glob("*.list")):
        for line in listing.read_text().splitlines():
            parent = (root / line.lstrip("/")).parent.resolve()
            found[parent / Path(line).name] = listing.stem.split(":")[0]
    return found


def main() -> None:
    root, info = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    known, files = owners(root, info), {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            source = path
            if path.suffix == ".pyc":
                source = (
                    path.with_suffix(".py")
                    if path.parent.name != "__pycache__"
                    else path.parent.parent / (path.name.split(".")[0] + ".py")
                )
            files.setdefault(known.get(path) or known.get(source) or "made by the build", []).append(path)
    prices = {}
    for package, paths in files.items():
        content = b"".join(path.read_bytes() for path in paths)
        packed = subprocess.run(["zstd", "-q", "-9", "--long=26"], input=content, capture_output=True, check=True).stdout
        prices[package] = {"bytes": len(content), "packed": len(packed)}
    print(json.dumps(dict(sorted(prices.items(), key=lambda item: -item[1]["packed"])), indent=1))


if __name__ == "__main__":
    main()
