# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images in from, and out to, what other programs made and read."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Union

from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import read_partitions
from ansible_collections.reimage.lab.plugins.module_utils.errors import named
from ansible_collections.reimage.lab.plugins.module_utils.imaging.capture import Captured, capture, new_version
from ansible_collections.reimage.lab.plugins.module_utils.imaging.deploy import deploy
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign import clonezilla, clonezilla_writer, compressed, fog
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.disk import SECTOR, work_disk
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.disk_file import (
    FOREIGN,
    FORMATS,
    check_disk_file,
    create,
    raw_view,
)
from ansible_collections.reimage.lab.plugins.module_utils.imaging.foreign.sniffing import COMPRESSED, RAW, sniff
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import Index
from ansible_collections.reimage.lab.plugins.module_utils.imaging.layout import NONE
from ansible_collections.reimage.lab.plugins.module_utils.imaging.progress import Callback, Meter
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.folder import PathStore, sync
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.interface import Store
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.names import check_name
from ansible_collections.reimage.lab.plugins.module_utils.imaging.store.sources import Sources

AUTO, CLONEZILLA, FOG = "auto", "clonezilla", "fog"
_FOLDERS = {CLONEZILLA: clonezilla, FOG: fog}
_WRITERS = {CLONEZILLA: clonezilla_writer.write, FOG: fog.write}
EXPORT_FORMATS = (*_FOLDERS, *FORMATS)
IMPORT_FORMATS = (AUTO, *EXPORT_FORMATS, *FOREIGN, COMPRESSED)

# What is not the first of the files that FOG splits a stream into.
_LATER_PART = re.compile(r"\.(?!000)\d{3}$")

Folder = Union[clonezilla.Folder, fog.Folder]


def detect(source: Path, kind: str = AUTO) -> str:
    """Return the format of I(source), which must be I(kind) if that is not C(AUTO)."""
    if not source.exists():
        raise ImagingError(f"{source} does not exist")
    if source.is_dir():
        if kind in _FOLDERS:
            return kind
        found = next((name for name, module in _FOLDERS.items() if module.is_folder(source)), "")
        if kind != AUTO or not found:
            inside = [path for path in source.iterdir() if path.is_file() and not _LATER_PART.search(path.name)][:2]
            file = f"; if the disk is in a file, name that as the source: {inside[0]}" if len(inside) == 1 else ""
            raise ImagingError(f"{source} is a folder, and none that Clonezilla or FOG made{_but(kind)}{file}")
        return found
    if not (source.is_file() or source.is_block_device()):
        raise ImagingError(f"{source} is neither a folder, nor a file, nor a disk")
    if kind in _FOLDERS:
        raise ImagingError(f"{source} is a file, and {kind} keeps its images in folders")
    return sniff(source) if kind == AUTO else kind


def import_image(
    store: PathStore,
    name: str,
    version: str,
    source: Path,
    kind: str = AUTO,
    *,
    level: int = 3,
    description: str = "",
    work_folder: str = "",
    callback: Callback | None = None,
) -> Captured:
    """Make an image of what another program saved.

    Nothing is written to the store before all of a folder was read without an error.

    :param version: By default the UTC time.
    :param work_folder: Where a folder is unpacked to meanwhile; it takes what the filesystems use.
    :raises ImagingError: The version exists, or the source is incomplete, damaged or not supported.
    """
    version = check_name("version", version or new_version())
    check_name("image name", name)
    store.refuse_version(name, version)
    kind = detect(source, kind)
    description = description or f"imported from {source.name} ({kind})"
    with _as_disk(source, kind, work_folder, Meter(f"{name}/{version}", callback)) as (disk, warnings):
        _refuse_cut(disk, source)
        captured = capture(store, disk, name, version, level=level, description=description, callback=callback)
        captured.warnings[:0] = warnings
        return captured


@contextmanager
def _as_disk(source: Path, kind: str, work_folder: str, meter: Meter) -> Iterator[tuple[str, list[str]]]:
    """Have what another program saved as a raw disk for a while, and what a person should know of it.

    Errors name the source, whatever it is unpacked to.
    """
    if kind not in (*_FOLDERS, COMPRESSED):
        with raw_view(source, kind, work_folder=work_folder) as disk:
            yield disk, []
        return
    folder = _open(source, kind) if kind in _FOLDERS else None
    with work_disk(work_folder) as work, named(str(work.path), str(source)):
        meter.start("unpacking", folder.size if folder else source.stat().st_size)
        try:
            if folder:
                folder.unpack(work, meter.add)
            else:
                compressed.unpack(source.resolve(), work, meter.add)
        except OSError as error:
            raise ImagingError(f"{source} cannot be unpacked to {work.path.parent}: {error.strerror}") from error
        inner = RAW if folder else sniff(work.path)
        if inner == COMPRESSED:
            raise ImagingError(f"{source} is compressed twice, or by several programs: decompress it, and import the result")
        with raw_view(work.path, inner, work_folder=work_folder) as disk:
            yield disk, work.warnings


def check_source(source: Path, kind: str) -> str:
    """Return the format of I(source), or raise C(ImagingError) if it is incomplete at first sight."""
    kind = detect(source, kind)
    if kind in _FOLDERS:
        _open(source, kind)
    elif kind != COMPRESSED:
        check_disk_file(source, kind)
    return kind


def export_image(
    store: Store,
    index: Index,
    destination: Path,
    kind: str,
    *,
    level: int = 3,
    work_folder: str = "",
    callback: Callback | None = None,
) -> bool:
    """Write an image so that another program reads it. The destination appears when it is complete.

    :return: False if the destination exists already; it is not looked at then.
    """
    if exists(destination):
        return False
    if index.sector_size != SECTOR:
        raise ImagingError(f"{index.image} is of a disk with sectors of {index.sector_size} bytes, which {kind} does not have")
    with _appearing(destination) as partial:
        if kind in FORMATS:
            create(partial, kind, index.disk_size)
            with raw_view(partial, kind, write=True) as disk:
                deploy(Sources([store]), index, disk, grow=NONE, callback=callback)
            return True
        partial.mkdir()
        with work_disk(work_folder, clonezilla_writer.DISK) as work:
            create(work.path, "raw", index.disk_size)
            deploy(Sources([store]), index, str(work.path), grow=NONE, callback=callback)
            meter = Meter(index.image, callback)
            meter.start("packing", sum(partition.size for partition in work.partitions()))
            _WRITERS[kind](work, partial, index.image, level, meter.add)
    return True


def exists(destination: Path) -> bool:
    """Return whether there is something at a destination; an empty folder is nothing."""
    return destination.exists() and not (destination.is_dir() and not any(destination.iterdir()))


def _refuse_cut(disk: str, source: Path) -> None:
    """A disk with a GPT that was cut off shows only the entry that protects the GPT, which would be captured whole."""
    with Device(disk) as device:
        _label, partitions = read_partitions(device)
    if any(partition.type.lower() == "ee" for partition in partitions):
        raise ImagingError(f"{source} is truncated, or its GUID partition table is damaged: copy it again")


def _open(source: Path, kind: str) -> Folder:
    try:
        return clonezilla.Folder(source) if kind == CLONEZILLA else fog.Folder(source)
    except OSError as error:
        raise ImagingError(f"{source} cannot be read: {error.strerror}") from error


@contextmanager
def _appearing(destination: Path) -> Iterator[Path]:
    """A path beside I(destination), which takes its place if all goes well, and is removed otherwise."""
    partial = destination.with_name(f".{destination.name}.{os.getpid()}.partial")
    try:
        yield partial
        # What is at the destination is never looked at again, so it must be on the disk first.
        sync(partial)
        if destination.is_dir():
            destination.rmdir()
        partial.rename(destination)
    except OSError as error:
        raise ImagingError(f"{destination} cannot be written: {error}") from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _but(kind: str) -> str:
    return "" if kind == AUTO else f", so it is not {kind}"
