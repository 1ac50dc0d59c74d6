"""An end that only seems to be one."""

from __future__ import annotations

from datetime import timedelta

from tests.api.reading import DAY, NEXT, START, keys, read
from tests.api.test_drift import MANY, assert_steady, both, delete
from tests.support import Habits, Tenant, record


def test_a_deletion_while_pages_are_cut_to_what_came_before_hides_nothing() -> None:
    habits = Habits(cap=(3, 2, 2, 100), total="absent")
    with Tenant(MANY[:4], habits, before={3: delete(0)}) as tenant:
        assert_steady(tenant, read(tenant))


def test_one_record_that_comes_again_proves_nothing_where_several_had_to() -> None:
    """The first of ``a b c | d`` goes after pages too small for ``a b c``, and the others come as ``d b c``."""
    held = [record(9, START), *(record(number, START + timedelta(hours=1)) for number in (2, 5, 1))]
    change = both(lambda tenant: tenant.delete(9), lambda tenant: tenant.behave(ties="id"))
    with Tenant(held, Habits(cap=(3, 2, 2, 2, 2, 100), total="absent"), before={6: change}) as tenant:
        got = keys(read(tenant))
        assert set(tenant.steady(DAY, NEXT)) <= set(got)


def test_a_page_as_large_as_any_is_not_the_end_of_records_of_one_time() -> None:
    """The first of ``a b c | d`` goes while nobody looks, and what is asked for beyond ``c`` and once more is cut."""
    held = [record(9, START), *(record(number, START + timedelta(hours=1)) for number in (1, 2, 5))]
    habits = Habits(cap=(3, 3, 100, 2, 100), total="absent")
    with Tenant(held, habits, before={3: lambda tenant: tenant.delete(9)}) as tenant:
        got = keys(read(tenant))
        assert set(tenant.steady(DAY, NEXT)) <= set(got)
