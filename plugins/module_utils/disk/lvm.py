# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which bytes of an LVM physical volume are used, without activating anything.

Source: the texts that C(pvck --dump metadata) and C(pvck --dump headers) print, lvm(8).
"""

from __future__ import annotations

import re
from typing import Iterator

from ansible_collections.reimage.lab.plugins.module_utils.command import CommandError, run
from ansible_collections.reimage.lab.plugins.module_utils.disk.device import loop_device
from ansible_collections.reimage.lab.plugins.module_utils.disk.extents import Extents, merged
from ansible_collections.reimage.lab.plugins.module_utils.disk.filesystems.survey import Survey

_SEGMENT = re.compile(r"segment\d+ \{([^{}]*)\}")
_AREA_START = re.compile(r"\bmda_header_\d+\.start (\d+)")
_AREA_SIZE = re.compile(r"\bmda_header_\d+\.size (\d+)")
_TOKEN = re.compile(r'\b(\w+) = (?:"([^"]*)"|(\d+)|\[([^\[\]]*)\])')


def used(disk: str, start: int, size: int, where: str, survey: Survey) -> Extents:
    """Return the used bytes of a physical volume.

    Of a logical volume in one linear piece, only what its filesystem uses; of others all; of free extents nothing. A volume
    group of several physical volumes is taken whole.

    :param where: What to call it in an error.
    :param survey: Looks at the filesystems in it, and keeps what a person should know.
    """

    def whole(reason: str) -> Extents:
        survey.warnings.append(f"{where}: the LVM physical volume is captured whole: {reason}")
        return Extents([(0, size)])

    try:
        text, headers = (_dump(kind, disk, start, size) for kind in ("metadata", "headers"))
    except CommandError:
        return whole("its metadata cannot be read (pvck tells more)")
    first, extent = _number(text, "pe_start"), _number(text, "extent_size")
    if text.count("pe_start = ") != 1 or not first or not extent:
        return whole("its volume group has others")
    # A second metadata area is at the end.
    areas = zip(_AREA_START.findall(headers), _AREA_SIZE.findall(headers))
    pairs = [(0, first * 512), *((int(at), int(length)) for at, length in areas)]
    if any(at + length > size for at, length in pairs):
        return whole("its metadata leads out of it")
    for name, segments in _volumes(text):
        found = [_span(segment, first, extent) for segment in segments]
        if None in found:
            return whole("a logical volume is not linear, or its description makes no sense")
        spans = [span for span in found if span is not None]
        if any(offset < first * 512 or length <= 0 or offset + length > size for offset, length in spans):
            return whole("its metadata leads out of it")
        if len(spans) > 1:
            survey.warnings.append(f"{where}: logical volume {name}, in several pieces, is captured whole")
            pairs += spans
            continue
        offset, length = spans[0]
        with loop_device(disk, start + offset, length) as loop:
            said = run(["blkid", "--probe", "--output", "value", "--match-tag", "TYPE", loop], accept=(0, 2)).stdout
            kind = said.decode().strip()
            inner = survey.used(loop, f"{where}, logical volume {name}", kind)
            pairs += [(offset + at, count) for at, count in inner.pairs]
    return merged(pairs)


def volumes(disk: str, start: int, size: int) -> list[tuple[int, int]]:
    """Return where the logical volumes in one linear piece are in a physical volume; none if its metadata cannot be read."""
    try:
        text = _dump("metadata", disk, start, size)
    except CommandError:
        return []
    first, extent = _number(text, "pe_start"), _number(text, "extent_size")
    spans = [_span(segments[0], first, extent) for _name, segments in _volumes(text) if len(segments) == 1]
    return [span for span in spans if span and 0 < span[1] <= size - span[0]]


def _dump(kind: str, disk: str, start: int, size: int) -> str:
    with loop_device(disk, start, size) as loop:
        return run(["pvck", "--dump", kind, loop]).stdout.decode(errors="replace")


def _volumes(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield name and segments of each logical volume."""
    if "logical_volumes {" not in text:
        return
    inner = text.split("logical_volumes {", 1)[1]
    parts = re.split(r"\n\t*([\w.+-]+) \{\n\t*id = ", inner)
    for name, volume in zip(parts[1::2], parts[2::2]):
        segments = _SEGMENT.findall(volume)
        if segments:
            yield name, segments


def _span(segment: str, first: int, extent: int) -> tuple[int, int] | None:
    """Return where in the physical volume a segment is, in bytes; None unless it is linear, and makes sense."""
    fields = {name: text or number or items for name, text, number, items in _TOKEN.findall(segment)}
    if fields.get("type") != "striped" or fields.get("stripe_count") != "1":
        return None
    try:
        at, count = int(fields["stripes"].split(",")[1]), int(fields["extent_count"])
    except (KeyError, IndexError, ValueError):
        return None
    return (first + at * extent) * 512, count * extent * 512


def _number(text: str, name: str) -> int:
    found = re.search(rf"\b{name} = (\d{{1,20}})\b", text)
    return int(found[1]) if found else 0
