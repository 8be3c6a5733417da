# Copyright: (c) 2026, The reimage.lab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work in threads never ends as if all of it were done when it is not."""

from __future__ import annotations

from typing import Iterator

import pytest
from ansible_collections.reimage.lab.plugins.module_utils.imaging.work import each


def items() -> Iterator[int]:
    yield from range(10)
    raise OSError("the list broke off")


def test_every_item_is_worked_on_once() -> None:
    done: list[int] = []
    each(range(100), done.append, 4)
    assert sorted(done) == list(range(100))


def test_error_of_the_work_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        each([1, 0, 2], lambda number: print(1 // number), 2)


@pytest.mark.parametrize("count", [1, 4])
def test_error_of_the_list_of_items_is_raised(count: int) -> None:
    done: list[int] = []
    with pytest.raises(OSError, match="broke off"):
        each(items(), done.append, count)
    assert sorted(done) == list(range(10))
