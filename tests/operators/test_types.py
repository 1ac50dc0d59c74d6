"""Values of records: fixed column types, and every record can be rebuilt from its row."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.operators.conftest import Extract
from tests.operators.lake import DAY, OBJECT, Lake, as_row, hour
from tests.support import Fault, Habits, Record, Tenant, day_of_records, record, rewritten

NOON = "2026-01-02T12:00:00.000001+00:00"
TIME = pa.timestamp("us", tz="UTC")
TYPES = {
    "id": pa.string(),
    "created_at": TIME,
    "updated_at": TIME,
    "detected_at": TIME,
    "start_time": TIME,
    "end_time": TIME,
    "status": pa.string(),
    "dismissed_at": TIME,
    "dismiss_reason": pa.string(),
    "threat_risk": pa.string(),
    "threat_type": pa.string(),
    "threat_entity": pa.string(),
    "short_description": pa.string(),
    "description": pa.string(),
    "event_count": pa.int64(),
    "platforms": pa.list_(pa.string()),
    "locations": pa.list_(pa.string()),
    "users": pa.list_(pa.struct([("display_name", pa.string()), ("email", pa.string())])),
    "suspicious_ip": pa.string(),
    "_extra": pa.string(),
}

# Numbers are put into records as marked text, and the mark is removed on the wire: JSON numbers with any digits.
_MARK = "number "
RAW_NUMBERS: Fault = rewritten(lambda body: re.sub(f'"{_MARK}([^"]*)"'.encode(), rb"\1", body))


def raw(digits: str) -> str:
    """Return a placeholder for a number written with exactly these digits."""
    return f"{_MARK}{digits}"


def digits(value: Any) -> str | None:
    """Return the digits of a placeholder, None for any other value."""
    return value.removeprefix(_MARK) if isinstance(value, str) and value.startswith(_MARK) else None


def ada(**fields: Any) -> Record:
    """Return a record created at noon, with other values in some fields."""
    return record(7, NOON) | fields


def extracted(extract: Extract, lake: Lake, *records: Record) -> list[dict[str, Any]]:
    """Return the rows of some records."""
    with Tenant(records, Habits(ascii_only=True), faults=RAW_NUMBERS) as tenant:
        extract(tenant)
    return lake.rows()


def apart(row: dict[str, Any]) -> Any:
    """Return the content of ``_extra``, numbers as they were written."""
    return None if row["_extra"] is None else json.loads(row["_extra"], parse_int=Number, parse_float=Number)


class Number(str):
    """A number as it was written."""


# --- types ------------------------------------------------------------------------------------------------------------


def test_schema_does_not_depend_on_records(extract: Extract, lake: Lake) -> None:
    with Tenant([{"id": 1, "created_at": NOON}]) as tenant:
        extract(tenant)
    bare = pq.read_schema(lake.path(OBJECT))
    lake.path(OBJECT).unlink()
    with Tenant(day_of_records(DAY, 10)) as tenant:
        extract(tenant)
    full = pq.read_schema(lake.path(OBJECT))
    assert dict(zip(full.names, full.types, strict=True)) == TYPES
    assert list(TYPES) == full.names
    assert bare.equals(full, check_metadata=True)


def test_ordinary_record_has_no_extra(extract: Extract, lake: Lake) -> None:
    ordinary = [ada(), ada() | {"id": 8, "detected_at": NOON}, {"id": 9, "created_at": NOON}]
    rows = extracted(extract, lake, *ordinary)
    assert rows == [dict.fromkeys(TYPES) | as_row(dict.fromkeys(TYPES) | each) for each in ordinary]


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [
        (7, "7"),
        ("7", "7"),
        ("G8qz0vb49V", "G8qz0vb49V"),
        ("007", "007"),
        (0, "0"),
        (-12, "-12"),
        (2**63 - 1, str(2**63 - 1)),
        (2**63, str(2**63)),
        (10**40 + 1, str(10**40 + 1)),
        (" ", " "),
        ("\u0000\U0001f600\u202e", "\u0000\U0001f600\u202e"),
    ],
)
@pytest.mark.parametrize("field", [{}, {"unknown": 1}], ids=["ordinary", "unusual"])
def test_id_becomes_text(extract: Extract, lake: Lake, given_id: Any, kept: str, field: dict[str, Any]) -> None:
    (row,) = extracted(extract, lake, ada(id=given_id, **field))
    assert row["id"] == kept
    assert apart(row) == ({"unknown": "1"} if field else None)


def test_ids_of_both_types_on_several_pages(extract: Extract, lake: Lake) -> None:
    mixed = [record(n, hour(n)) | {"id": n if n % 4 < 2 else f"T{n}"} for n in range(20)]
    with Tenant(mixed, Habits(cap=3)) as tenant:
        extract(tenant)
    assert lake.ids() == [str(each["id"]) for each in mixed]


@pytest.mark.parametrize(
    ("written", "instant", "exact"),
    [
        ("2026-01-02T12:00:00.123456+00:00", datetime(2026, 1, 2, 12, 0, 0, 123456, UTC), True),
        ("2026-01-02T12:00:00.1Z", datetime(2026, 1, 2, 12, 0, 0, 100000, UTC), True),
        ("2026-01-02T12:00:00Z", datetime(2026, 1, 2, 12, tzinfo=UTC), True),
        ("2026-01-02 12:00:00.123456", datetime(2026, 1, 2, 12, 0, 0, 123456, UTC), True),
        ("2026-01-02T12:00", datetime(2026, 1, 2, 12, tzinfo=UTC), True),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC), True),
        ("2026-01-02T17:30:00+05:30", datetime(2026, 1, 2, 12, tzinfo=UTC), True),
        ("2026-01-01T23:30:00-0030", datetime(2026, 1, 2, tzinfo=UTC), True),
        ("2026-01-02T12:00:00.123456000Z", datetime(2026, 1, 2, 12, 0, 0, 123456, UTC), True),
        ("2026-01-02T12:00:00.123456789Z", datetime(2026, 1, 2, 12, 0, 0, 123456, UTC), False),
    ],
)
def test_time_is_utc_to_the_microsecond(
    extract: Extract, lake: Lake, written: str, instant: datetime, exact: bool
) -> None:
    (row,) = extracted(extract, lake, ada(created_at=written, updated_at=written))
    assert row["created_at"] == row["updated_at"] == instant
    assert row["created_at"].utcoffset() == timedelta(0)
    assert apart(row) == (None if exact else {"created_at": written, "updated_at": written})


@pytest.mark.parametrize(
    "written", [raw("1767355200"), raw("1767355200.5"), "1767355200", "noon", "", True, [NOON], {}]
)
def test_time_invalid_goes_into_extra(extract: Extract, lake: Lake, written: Any) -> None:
    (row,) = extracted(extract, lake, ada(updated_at=written))
    assert row["updated_at"] is None
    assert same(apart(row), {"updated_at": written})


def test_detected_at_replaces_missing_created_at(extract: Extract, lake: Lake) -> None:
    rows = [ada(id=n, created_at=None, detected_at=hour(6 + n).isoformat()) for n in range(3)]
    outside = ada(id=9, created_at=None, detected_at=hour(24).isoformat())
    both = ada(id=10, detected_at=hour(48).isoformat())
    held = extracted(extract, lake, outside, both, *reversed(rows))
    assert [row["id"] for row in held] == ["0", "1", "2", "10"]
    assert held[0]["created_at"] is None


def test_record_typed_as_vendor_documents_fits(extract: Extract, lake: Lake) -> None:
    (row,) = extracted(
        extract,
        lake,
        {
            "id": "G8qAb0vz9K",
            "description": "Unusual sign-in",
            "event_count": "13",
            "threat_risk": "Account Compromise",
            "platforms": "office365",
            "users": "ada.sample@example.com, ben.example@example.com",
            "status": "Dismissed",
            "locations": "Malaysia",
            "detected_at": "2026-01-02T07:45:12.118204+00:00",
        },
    )
    assert row == dict.fromkeys(TYPES) | {
        "id": "G8qAb0vz9K",
        "description": "Unusual sign-in",
        "event_count": 13,
        "threat_risk": "Account Compromise",
        "platforms": ["office365"],
        "users": [
            {"display_name": None, "email": "ada.sample@example.com"},
            {"display_name": None, "email": "ben.example@example.com"},
        ],
        "status": "Dismissed",
        "locations": ["Malaysia"],
        "detected_at": datetime(2026, 1, 2, 7, 45, 12, 118204, UTC),
    }


ONE = {"display_name": "Ada", "email": "ada@example.com"}
LONE = "\ud800"


@pytest.mark.parametrize(
    ("name", "given_value", "kept", "is_in_extra"),
    [
        ("platforms", [], [], False),
        ("platforms", ["a", None, ""], ["a", None, ""], False),
        ("platforms", "a, b", ["a, b"], False),
        ("platforms", [1], None, True),
        ("platforms", {"a": 1}, None, True),
        ("platforms", [["a"]], None, True),
        ("platforms", [LONE], None, True),
        ("users", [], [], False),
        ("users", [ONE], [ONE], False),
        ("users", ONE, [ONE], False),
        ("users", [None, {}], [None, {"display_name": None, "email": None}], False),
        ("users", "ada@example.com", [{"display_name": None, "email": "ada@example.com"}], False),
        ("users", "a@b,c@d", [{"display_name": None, "email": each} for each in ("a@b", "c@d")], False),
        ("users", "a@b,c@d, e@f", [{"display_name": None, "email": each} for each in ("a@b", "c@d", "e@f")], True),
        ("users", ["ada@example.com"], [{"display_name": None, "email": "ada@example.com"}], False),
        ("users", [ONE | {"id": 5}], [ONE], True),
        ("users", "Ada Sample", None, True),
        ("users", ["Ada Sample"], None, True),
        ("users", [{"email": 5}], None, True),
        ("users", [[ONE]], None, True),
        ("users", "", None, True),
        ("event_count", 13, 13, False),
        ("event_count", "13", 13, False),
        ("event_count", raw("13.0"), 13, False),
        ("event_count", raw("1.3e1"), 13, False),
        ("event_count", raw("-9223372036854775808"), -(2**63), False),
        ("event_count", raw("9223372036854775808"), None, True),
        ("event_count", raw("13.5"), None, True),
        ("event_count", raw("1e99999999999999999999"), None, True),
        ("event_count", raw("1e-99999999999999999999"), None, True),
        ("event_count", raw("1e400"), None, True),
        ("event_count", "0x0d", None, True),
        ("event_count", "013", None, True),
        ("event_count", " 13", None, True),
        ("event_count", "١٣", None, True),
        ("event_count", "many", None, True),
        ("event_count", True, None, True),
        ("status", "ARCHIVED", "ARCHIVED", False),
        ("status", "", "", False),
        ("status", 1, None, True),
        ("suspicious_ip", ["203.0.113.1"], None, True),
        ("description", LONE, None, True),
        ("description", '\u0000 \U0001f600 \u202e ä\n\t"\\', '\u0000 \U0001f600 \u202e ä\n\t"\\', False),
        ("description", "x" * 5_000_000, "x" * 5_000_000, False),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_value_is_coerced_if_lossless_else_in_extra(
    extract: Extract, lake: Lake, name: str, given_value: Any, kept: Any, is_in_extra: bool
) -> None:
    (row,) = extracted(extract, lake, ada(**{name: given_value}))
    assert row[name] == kept
    assert same(apart(row), {name: given_value} if is_in_extra else None)
    assert row["id"] == "7"


@pytest.mark.parametrize(
    "unknown",
    [
        {"score": 5},
        {"nested": {"b": [1, {"c": None}], "a": "ä\u202e"}},
        {"nothing": None, "empty": [], "": "", "\u0000": False},
        {"_extra": {"mine": 1}},
        {"_extra": None},
        {"ID": 1, "Created_At": NOON},
        {"precise": raw("0.1000000000000000055511151231257827"), "big": raw("1e999"), "zero": raw("-0")},
        {"long": raw("9" * 5000)},
        {LONE: LONE},
    ],
    ids=lambda value: repr(value)[:30],
)
def test_unknown_fields_keep_every_digit(extract: Extract, lake: Lake, unknown: dict[str, Any]) -> None:
    (row,) = extracted(extract, lake, ada(**unknown))
    assert same(apart(row), unknown)
    assert {**row, "_extra": None} == as_row(ada())


def test_unusual_record_leaves_others_unchanged(extract: Extract, lake: Lake) -> None:
    with Tenant([*day_of_records(DAY, 10), ada(new=1)]) as tenant:
        extract(tenant)
        plain = [as_row(each) for each in tenant.records[:10]]
    assert [row for row in lake.rows() if row["id"] != "7"] == plain


def test_users_ten_thousand_are_kept(extract: Extract, lake: Lake) -> None:
    users = [{"display_name": f"User {n}", "email": f"{n}@example.com"} for n in range(10_000)]
    (row,) = extracted(extract, lake, ada(users=users))
    assert row["users"] == users


# --- any record can be rebuilt from its row ---------------------------------------------------------------------------


def same(kept: Any, given_value: Any) -> bool:
    """Whether a JSON value from ``_extra`` equals the value sent, with every digit of its numbers."""
    if isinstance(given_value, dict):
        return (
            isinstance(kept, dict)
            and kept.keys() == given_value.keys()
            and all(same(kept[name], given_value[name]) for name in kept)
        )
    if isinstance(given_value, list):
        return isinstance(kept, list) and len(kept) == len(given_value) and all(map(same, kept, given_value))
    number = str(given_value) if type(given_value) is int else digits(given_value)
    if number is not None:
        return type(kept) is Number and kept == number
    return type(kept) is type(given_value) and kept == given_value


def exact(mantissa: str, power: int) -> Fraction | None:
    """Return a number as a fraction, None for one that no integer column can hold."""
    return Fraction(mantissa) * Fraction(10) ** power if abs(power) < 60 else None


def tells(column: str, cell: Any, given_value: Any) -> bool:
    """Whether the value sent can be told from the cell alone, by the documented coercions."""
    kind = TYPES[column]
    number = digits(given_value)
    if column == "id":
        return bool(cell == (number or str(given_value)))
    if kind == TIME:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})0+", r"\1", given_value))
        finer = re.search(r"\.\d{7}", re.sub(r"(\.\d{6})0+", r"\1", given_value))
        return bool(cell == (moment if moment.tzinfo else moment.replace(tzinfo=UTC))) and not finer
    if kind == pa.int64():
        mantissa, _, power = (number or str(given_value)).lower().partition("e")
        return bool(cell == (exact(mantissa, int(power or 0)) if mantissa.strip("-0.") else 0))
    if kind == pa.string():
        return number is None and cell == given_value
    values = given_value if isinstance(given_value, list) else [given_value]
    if column != "users":
        return number is None and cell == values
    people = re.split(", ?", given_value) if isinstance(given_value, str) else values
    return bool(cell == [person(each) for each in people])


def person(value: Any) -> Any:
    """Return the user that a value stands for, with every member."""
    if isinstance(value, str):
        value = {"email": value}
    return value if value is None else {"display_name": None, "email": None, **value}


def rebuilds(row: dict[str, Any], served: Record) -> bool:
    """Whether a record can be rebuilt from its row; absent and null fields count as equal."""
    extra = apart(row) or {}
    return extra.keys() <= served.keys() and all(
        same(extra[name], value)
        if name in extra
        else (value is None and name in TYPES and row[name] is None)
        or (name in TYPES and name != "_extra" and row[name] is not None and tells(name, row[name], value))
        for name, value in served.items()
    )


DIGITS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,22})?", fullmatch=True, alphabet="-+.eE0123456789"
)
TEXT = st.text(max_size=12).filter(lambda text: _MARK not in text) | st.sampled_from(
    ["", LONE, "\u0000", "NaN", "null"]
)
NUMBERS = DIGITS.map(raw) | st.integers() | st.integers(-30, 30).map(str)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).flatmap(
    lambda moment: st.sampled_from(
        [
            moment.isoformat(),
            moment.isoformat(" "),
            f"{moment.isoformat(timespec='microseconds')}Z",
            f"{moment.isoformat(timespec='microseconds')}789+00:00",
            f"{moment.isoformat(timespec='microseconds')}000-08:00",
            f"{moment.isoformat(timespec='milliseconds')}+0530",
            f"{moment.isoformat(timespec='minutes')}+02",
            f"{moment:%Y-%m-%d}".rjust(10, "0"),
        ]
    )
)
EMAILS = st.sampled_from(["ada@example.com", "a@b, c@d", "a@b,c@d", "a@b,  c@d", "a@b,", "a@b;c@d", "Ada <a@b>"])
USERS = st.fixed_dictionaries({}, optional={"display_name": TEXT | st.none(), "email": EMAILS | st.none(), "id": TEXT})
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT | MOMENTS | EMAILS
VALUES = st.recursive(
    LEAVES | USERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PLAUSIBLE = {
    TIME: MOMENTS,
    pa.string(): TEXT,
    pa.int64(): NUMBERS,
    TYPES["platforms"]: st.lists(TEXT | st.none(), max_size=3) | TEXT,
    TYPES["users"]: st.lists(USERS | EMAILS | st.none(), max_size=3) | USERS | EMAILS,
}
NAMES = [name for name in TYPES if name not in ("id", "created_at")]
RECORDS = st.builds(
    lambda known, unknown, created_at: unknown | known | {"created_at": created_at},
    st.fixed_dictionaries({}, optional={name: PLAUSIBLE[TYPES[name]] | VALUES for name in NAMES}),
    st.dictionaries(TEXT, VALUES, max_size=2),
    st.sampled_from(
        [NOON, "2026-01-02", "2026-01-02 23:59:59.999999999", "2026-01-03T04:00:00+05:00", "2026-01-02T00:00Z"]
    ),
)
IDS = st.integers(0) | DIGITS.filter(lambda text: text.isdecimal()).map(raw) | TEXT.filter(lambda t: t and t != LONE)


@settings(
    max_examples=40,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # examples are small, and shrinking takes minutes
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.tuples(IDS, RECORDS), min_size=1, max_size=4, unique_by=lambda pair: str(pair[0]).removeprefix(_MARK))
)
def test_any_record_can_be_rebuilt_from_its_row(
    extract: Extract, tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[Any, Record]]
) -> None:
    lake = Lake(tmp_path_factory.mktemp("any"))
    served = [fields | {"id": key} for key, fields in pairs]
    with Tenant(served, Habits(ascii_only=True), faults=RAW_NUMBERS) as tenant:
        extract(tenant, destination=lake.destination)
    rows = {row["id"]: row for row in lake.rows()}
    assert len(rows) == len(served)
    for each in served:
        assert rebuilds(rows[str(each["id"]).removeprefix(_MARK)], each), (each, rows)
