"""The list of guards speaks of what is there."""

from __future__ import annotations

from tests.guards import TREE, every_guard


def test_every_guard_is_found_once_and_so_are_its_tests() -> None:
    faults = [each.fault(TREE) for each in every_guard()]
    assert len(faults) > 200
    assert [fault for fault in faults if fault] == []


def test_every_guard_has_tests_and_fits_into_the_table() -> None:
    for each in every_guard():
        assert each.tests
        assert 0 < len(each.against) <= 62, each.name
        assert len(each.name) <= 24, each.name
