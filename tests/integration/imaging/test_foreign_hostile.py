# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Image folders that somebody prepared so that their import reads what it must not, waits for ever, or fills the memory."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.errors import ReimageError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import capture
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.transfer import export_image, import_image
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore

from .conftest import MIB, blank, partition, sh

SECRET = "root:$6$secret:20000:0"
CLONEZILLA, FOG = "clonezilla", "fog"
FILES = {
    CLONEZILLA: ["disk", "parts", "sda-pt.sf", "sda-pt.parted", "sda-mbr", "SHA1SUMS", "sda1.ext4-ptcl-img.zst.aa",
                 "swappt-sda2.info"],
    FOG: ["d1.partitions", "d1.mbr", "d1p1.img", "d1.original.swapuuids", "d1.fixed_size_partitions"],
}  # fmt: skip
EACH = [(kind, file) for kind, files in FILES.items() for file in files]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small disk, in a folder for each program."""
    folder = tmp_path_factory.mktemp("exported")
    disk = blank(folder / "pc.raw", 12)
    sh("sfdisk", "--quiet", disk, data=b"label: dos\nsize=8MiB, type=83\nsize=2MiB, type=82\n")
    with partition(disk, 1) as device:
        sh("mkfs.ext4", "-q", device)
    with partition(disk, 2) as device:
        sh("mkswap", device)
    store = PathStore(folder)
    index = capture(store, str(disk), "pc", "1").index
    for kind in FILES:
        export_image(store, index, folder / kind, kind)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> PathStore:
    (tmp_path / "store").mkdir()
    return PathStore(tmp_path / "store")


def copy(exported: Path, kind: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported / kind, tmp_path / "folder"))


def refused(store: PathStore, folder: Path, said: str) -> None:
    with pytest.raises(ReimageError, match=said) as caught:
        import_image(store, "refused", "1", folder)
    assert "secret" not in str(caught.value)
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("kind", FILES)
def test_folder_as_it_was_exported_is_imported_also_through_a_link_to_it(
    exported: Path, store: PathStore, tmp_path: Path, kind: str
) -> None:
    assert sorted(FILES[kind]) == sorted(path.name for path in (exported / kind).iterdir() if path.name in FILES[kind])
    (tmp_path / "link").symlink_to(exported / kind)
    assert import_image(store, "pc", "1", tmp_path / "link").index.bytes_used > 0


@pytest.mark.parametrize(("kind", "file"), EACH)
def test_link_to_a_file_elsewhere_is_not_followed(exported: Path, store: PathStore, tmp_path: Path, kind: str, file: str) -> None:
    """What it points to is just right, so that nothing else is wrong with the folder."""
    folder = copy(exported, kind, tmp_path)
    (folder / file).rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o600)
    (folder / file).symlink_to(tmp_path / "elsewhere")
    refused(store, folder, re.escape(f"{folder / file} is a link"))


@pytest.mark.parametrize(("kind", "file"), [(CLONEZILLA, "parts"), (CLONEZILLA, "disk"), (FOG, "d1.partitions")])
def test_no_line_of_what_a_link_points_to_is_shown(
    exported: Path, store: PathStore, tmp_path: Path, kind: str, file: str
) -> None:
    folder = copy(exported, kind, tmp_path)
    (tmp_path / "shadow").write_text(SECRET)
    (folder / file).unlink()
    (folder / file).symlink_to(tmp_path / "shadow")
    refused(store, folder, "is a link")


def zeros(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))


@pytest.mark.parametrize(
    ("kind", "file"), [(kind, file) for kind, file in EACH if "img" in file or "sf" in file or "mbr" in file]
)
@pytest.mark.parametrize("make", [os.mkfifo, zeros])
def test_pipe_and_device_are_neither_waited_for_nor_read(
    exported: Path, store: PathStore, tmp_path: Path, kind: str, file: str, make: Callable[[Path], None]
) -> None:
    folder = copy(exported, kind, tmp_path)
    (folder / file).unlink()
    make(folder / file)
    refused(store, folder, rf"{re.escape(str(folder / file))} is (no regular file|missing)")


def test_source_that_is_a_pipe_is_not_waited_for(store: PathStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(store, tmp_path / "pipe", "pipe is neither a folder, nor a file, nor a disk")


def test_checksum_of_a_file_elsewhere_is_not_made(exported: Path, store: PathStore, tmp_path: Path) -> None:
    """Whether it is right would tell what the file holds."""
    folder = copy(exported, CLONEZILLA, tmp_path)
    (tmp_path / "elsewhere").write_text(SECRET)
    (folder / "sda-").mkdir()
    with (folder / "SHA1SUMS").open("a") as file:
        file.write(f"{'0' * 40}  sda-/../../elsewhere\n")
    assert import_image(store, "pc", "1", folder).index.bytes_used > 0


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("number", ["9" * 18, "9" * 5000, str(1 << 40)])
def test_partition_that_no_disk_has_room_for(exported: Path, store: PathStore, tmp_path: Path, kind: str, number: str) -> None:
    folder = copy(exported, kind, tmp_path)
    (folder / "SHA1SUMS").unlink(missing_ok=True)
    table = folder / FILES[kind][0 if kind == FOG else 2]
    table.write_text(re.sub(r"size= *\d+", f"size= {number}", table.read_text(), count=1))
    refused(store, folder, rf"{re.escape(str(table))} speaks of {number[:30]} sectors, which no disk has")


def test_disk_that_is_larger_than_any(exported: Path, store: PathStore, tmp_path: Path) -> None:
    folder = copy(exported, CLONEZILLA, tmp_path)
    (folder / "SHA1SUMS").unlink()
    said = folder / "sda-pt.parted"
    said.write_text(re.sub(r"(?m)^Disk (\S+): \d+s$", rf"Disk \1: {1 << 62}s", said.read_text()))
    refused(store, folder, rf"{re.escape(str(said))} speaks of {1 << 62} sectors, which no disk has")


def test_description_without_end_is_not_read_to_its_end(exported: Path, store: PathStore, tmp_path: Path) -> None:
    folder = copy(exported, CLONEZILLA, tmp_path)
    os.truncate(folder / "sda-mbr", 1 << 40)
    refused(store, folder, r"sda-mbr is larger than \d+ bytes")
    (folder / "SHA1SUMS").unlink()
    os.truncate(folder / "sda-mbr", MIB)
    os.truncate(folder / "sda-hidden-data-after-mbr", 1 << 40)
    assert import_image(store, "pc", "1", folder).index.bytes_used > 0
