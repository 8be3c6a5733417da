# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the partitions of an image go on a disk that may be larger or smaller than the master's, or hold something to keep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence

from ansible_collections.reimage.lab.plugins.module_utils.disk.device import Device
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.registry import filesystem
from ansible_collections.reimage.lab.plugins.module_utils.disk.partitions import TableEntry, blkid, read_partitions
from ansible_collections.reimage.lab.plugins.module_utils.disk.tables import Piece, Table, open_table
from ansible_collections.reimage.lab.plugins.module_utils.imaging.errors import ImagingError
from ansible_collections.reimage.lab.plugins.module_utils.imaging.index import LARGEST_HEAD, Index, Region

_MIB = 1 << 20
# Partitions that hold no user data, whatever their filesystem: EFI system, Windows recovery, and their MBR kin; what Microsoft
# reserves.
_SERVANTS = (
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC",
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
    "EF",
    "27",
    "12",
)
AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class Place:
    """Where a partition goes, in bytes. I(region.size) is the image's; I(size) is the disk's."""

    region: Region
    start: int
    size: int

    @property
    def resized(self) -> bool:
        """Whether its filesystem must grow or shrink."""
        return self.size != self.region.size


@dataclass(frozen=True)
class Layout:
    """The places to write, the table, the table to have while it is being written, and what a person should know.

    I(kept) is where something of the disk stays, as start and size.
    """

    places: list[Place]
    table: list[Piece]
    interim: list[Piece]
    warnings: list[str]
    kept: list[tuple[int, int]]


@dataclass(frozen=True)
class _Kept:
    """A partition of the disk that stays: its number there and in the new table, and its own entry."""

    old: int
    number: int
    start: int
    size: int
    entry: bytes


def plan(index: Index, device: Device, grow: str = AUTO, preserve: Sequence[str] = ()) -> Layout:
    """Return where everything goes.

    :param grow: The partition that takes what a disk has more, or gives what it has less: number, label or name; C(auto) for
        the last big one with data, if it can (LVM and LUKS cannot), C(none) to have all partitions as on the master.
    :param preserve: Partitions of the disk that stay untouched: number, label, name or type.
    :raises ImagingError: It does not fit, or is not clear. Nothing was written.
    """
    if index.sector_size != device.sector_size:
        raise ImagingError(
            f"{index.image} is of a disk with sectors of {index.sector_size} bytes, and {device.path} has"
            f" {device.sector_size}: its partitions and filesystems would not be found"
        )
    table = index.table()
    kept = _kept(index, device, table, preserve) if preserve else []
    regions = sorted(
        (region for region in index.partitions if region.number not in {item.number for item in kept}),
        key=lambda region: region.start,
    )
    places = _places(index, device, table, regions, kept, grow)
    for place in places:
        table.place(place.region.number, place.start, place.size)
    for item in kept:
        if item.entry:
            table.put(item.number, item.entry)
        table.place(item.number, item.start, item.size)
    # What the master had before its first partition may be longer than what the disk has before one that stays.
    table.cut(min((item.start for item in kept), default=LARGEST_HEAD))
    warnings = _unused(index, device, table, places, grow)
    spans = [(item.start, item.size) for item in kept]
    layout = Layout(places, table.pieces(device.size), _interim(device, places, kept), warnings, spans)
    _refuse_overlap(index, device, layout, kept, table.container())
    return layout


def _interim(device: Device, places: list[Place], kept: list[_Kept]) -> list[Piece]:
    """Return what makes a disk not bootable while it is written, and yet leaves what is kept to be found.

    It takes nothing from a partition: what was compared before the first write would not be compared again.
    """
    size, end = 34 * device.sector_size, device.size // device.sector_size * device.sector_size
    if not kept:
        first = min((place.start for place in places), default=size)
        last = max((place.start + place.size for place in places), default=0)
        behind = min(size, end - last)
        return [(0, bytes(min(size, first))), (end - behind, bytes(behind))]
    label, _partitions = read_partitions(device)
    old = open_table(label, device.read(0, LARGEST_HEAD), [], device.sector_size)
    old.keep_only([item.old for item in kept])
    return old.pieces(device.size)


def _places(index: Index, device: Device, table: Table, regions: list[Region], kept: list[_Kept], grow: str) -> list[Place]:
    limit = table.usable_end(device.size)
    stretch = _stretching(index, regions, grow)
    behind = [item.start if item.entry else table.front(item.number) for item in kept if stretch and item.start > stretch.start]
    if behind:
        limit = min(limit, *behind)
        end = max((region.start + region.size for region in regions if region.start < min(behind)), default=0)
    else:
        end = regions[-1].start + regions[-1].size if regions else 0
    # A disk of the master's size gets exactly the master's layout, with the free space that it left.
    spare = 0 if behind else max(0, table.usable_end(index.disk_size) - end)
    shift = _shift(limit - end, spare, grow)
    if stretch and stretch.size_max and shift > 0:
        shift = min(shift, max(0, stretch.size_max - stretch.size) // _MIB * _MIB)
    _refuse_too_small(index, device, table, stretch, shift, end, limit if behind else 0)
    places = []
    for region in regions:
        moved = stretch is not None and region.start > stretch.start and not (behind and region.start > min(behind))
        size = region.size + (shift if region is stretch else 0)
        places.append(Place(region, region.start + (shift if moved else 0), size))
    last = max((place.start + place.size for place in places), default=0)
    if last > table.usable_end(device.size):
        raise _too_small(index, device, table.smallest_disk(last))
    return places


def _shift(room: int, spare: int, grow: str) -> int:
    """Return by how many bytes, in whole MiB, a partition grows; negative if it must shrink.

    :param room: Bytes behind the last partition.
    :param spare: Bytes that the master left behind it.
    """
    if room < 0:
        return room // _MIB * _MIB
    return 0 if grow == NONE or room <= spare else (room - spare) // _MIB * _MIB


def _refuse_too_small(
    index: Index, device: Device, table: Table, stretch: Region | None, shift: int, end: int, front: int
) -> None:
    """Raise C(ImagingError) if shrinking does not help; I(front) is where what is preserved begins, if that is the limit."""
    if shift < 0:
        least = end - (stretch.size - stretch.size_min if stretch and stretch.size_min else 0)
        if stretch is None or not stretch.size_min or stretch.size + shift < stretch.size_min:
            if front:
                raise ImagingError(
                    f"{device.path} is too small: {index.image} needs {least} bytes before the partition to preserve, which"
                    f" begins at byte {front}"
                )
            raise _too_small(index, device, table.smallest_disk(least))


def _too_small(index: Index, device: Device, needed: int) -> ImagingError:
    return ImagingError(f"{device.path} is too small: {index.image} needs {needed} bytes, and it has {device.size}")


def _stretching(index: Index, regions: list[Region], grow: str) -> Region | None:
    """Return the partition that takes up the difference in size."""
    able = [region for region in regions if filesystem(region.filesystem).grows]
    if grow == NONE:
        return None
    if grow != AUTO:
        found = [region for region in regions if grow in (str(region.number), region.label, region.name)]
        if len(found) != 1 or found[0] not in able:
            known = ", ".join(f"{region.number} ({region.label or region.filesystem})" for region in able)
            raise ImagingError(f"{index.image} has no partition {grow!r} that can grow; those that can: {known or 'none'}")
        return found[0]
    last = _last_big(regions)
    return last if last in able else None


def _last_big(regions: list[Region]) -> Region | None:
    """Return the partition that is the main one of a disk, for all that can be said."""
    data = [region for region in regions if region.type.upper() not in _SERVANTS and filesystem(region.filesystem).holds_data]
    big = [region for region in data if region.size * 4 >= max(one.size for one in data)]
    return big[-1] if big else None


def _unused(index: Index, device: Device, table: Table, places: list[Place], grow: str) -> list[str]:
    """Return a warning if what a larger disk has more stays unused, though nobody said so."""
    regions = [place.region for place in places]
    last, stretch = _last_big(regions), _stretching(index, regions, grow)
    room = table.usable_end(device.size) - table.usable_end(index.disk_size)
    if stretch and stretch.size_max:
        size = next(place.size for place in places if place.region is stretch)
        left = room - (size - stretch.size)
        if left < _MIB or size + _MIB <= stretch.size_max:
            return []
        return [
            f"{device.path} is larger than the disk of {index.image}, and {left} bytes stay unused: the {stretch.filesystem} in"
            f" partition {stretch.number} can grow to {max(stretch.size, stretch.size_max)} bytes at most"
        ]
    if grow != AUTO or last is None or filesystem(last.filesystem).grows or room < _MIB:
        return []
    return [
        f"{device.path} is larger than the disk of {index.image} by {room} bytes, which stay unused: partition {last.number}"
        f" ({last.filesystem or 'unknown'}) cannot grow here. Grow it on the machine, or name another one in grow"
    ]


def _kept(index: Index, device: Device, table: Table, preserve: Sequence[str]) -> list[_Kept]:
    """Find the partitions to keep on the disk, and give each a number in the new table."""
    label, partitions = read_partitions(device)
    if label != index.label:
        raise ImagingError(
            f"{device.path} has a table of kind {label}, and {index.image} one of kind {index.label}: nothing can be preserved"
        )
    old = open_table(label, device.read(0, LARGEST_HEAD), [], device.sector_size)
    # Under its number and its label it is still one.
    labels = {one.number: blkid(device.path, one.start, one.size).get("LABEL", "") for one in partitions}
    found = {one.number: one for one in (_wanted(device, partitions, labels, str(name)) for name in preserve)}
    by_number = {int(name) for name in map(str, preserve) if name.isdecimal()}
    result: list[_Kept] = []
    for partition in found.values():
        start, size = partition.start, partition.size
        free = [region for region in index.partitions if region.number not in [item.number for item in result]]
        twin = [region for region in free if _same(label, region, partition, labels[partition.number])]
        if _logical(label, partition.number):
            if not twin or (twin[0].start, twin[0].size) != (start, size):
                raise ImagingError(f"{partition.node} is a logical partition that {index.image} has elsewhere: it cannot be kept")
            result.append(_Kept(partition.number, twin[0].number, start, size, b""))
            continue
        number = twin[0].number if twin else table.free_number()
        if partition.number in by_number and number != partition.number:
            raise ImagingError(
                f"preserve {partition.number}: {index.image} has a partition {partition.number} of its own, so this one"
                f" becomes {number}, and the next run would keep the wrong one: say its label or name instead"
            )
        entry = old.entry(partition.number)
        table.put(number, entry)
        result.append(_Kept(partition.number, number, start, size, entry))
    return result


def _logical(label: str, number: int) -> bool:
    return label == "dos" and number > 4


def _same(kind: str, region: Region, partition: TableEntry, label: str) -> bool:
    """Whether a partition of the image is what one of the disk, with the label of its filesystem, was deployed from."""
    if _logical(kind, region.number) != _logical(kind, partition.number):
        return False
    if region.uuid and partition.uuid:
        if region.uuid.upper() == partition.uuid.upper():
            return True
        return bool(region.label) and region.label == label
    return region.start == partition.start


def _wanted(device: Device, partitions: list[TableEntry], labels: dict[int, str], name: str) -> TableEntry:
    found = [one for one in partitions if name in (str(one.number), labels[one.number], one.name, one.type)]
    if len(found) != 1:
        known = ", ".join(f"{one.number} ({labels[one.number] or one.name or one.type})" for one in partitions)
        raise ImagingError(f"preserve {name!r}: {len(found)} partitions of {device.path} match; it has: {known}")
    return found[0]


def _refuse_overlap(index: Index, device: Device, layout: Layout, kept: list[_Kept], container: tuple[int, int]) -> None:
    """Raise C(ImagingError) if anything that will be written is where something is kept."""
    written = [(f"partition {place.region.number}", place.start, place.size) for place in layout.places]
    written += [("partition table", start, len(data)) for start, data in [*layout.table, *layout.interim]]
    for item in kept:
        # A logical partition is in the extended one.
        taken = written if _logical(index.label, item.number) else [*written, ("extended partition", *container)]
        for what, start, size in taken:
            if start < item.start + item.size and item.start < start + size:
                raise ImagingError(
                    f"partition {item.old} of {device.path} is to be preserved, at bytes {item.start} to"
                    f" {item.start + item.size}, where {index.image} has its {what}, {start} to {start + size}: its layout"
                    " does not leave room for it"
                )


def moved(place: Place) -> Region:
    """Return the region as it is on the disk, cut to where it is there."""
    size = min(place.size, place.region.size)
    extents = place.region.extents if size == place.region.size else place.region.extents.cut(size)
    return replace(place.region, start=place.start, size=size, extents=extents)
