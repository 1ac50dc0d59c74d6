"""Rows do not depend on how their records were spelled or paged, nor on how often the object was replaced since."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.operators.conftest import Extract
from tests.operators.lake import OBJECT, QUARANTINE, Lake, hour
from tests.operators.test_types import IDS, RAW_NUMBERS, RECORDS, Number, digits, raw, rebuilds, same
from tests.support import Exchange, Fault, Habits, Record, Tenant, record

SETTINGS: dict[str, Any] = {
    "max_examples": 12,
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],  # shrinking takes longer than reading a large example
    "suppress_health_check": list(HealthCheck),
}


def without_mark(key: Any) -> str:
    """Return the id that a row has."""
    return digits(key) or str(key)


SETS = st.lists(st.tuples(IDS, RECORDS), min_size=1, max_size=6, unique_by=lambda pair: without_mark(pair[0])).map(
    lambda pairs: [fields | {"id": key} for key, fields in pairs]
)


# --- any spelling -----------------------------------------------------------------------------------------------------


def spelled(value: Any, random: Random) -> str:
    """Return a value as JSON text, in one of its many spellings."""
    if isinstance(value, dict):
        members = [f"{spelled(name, random)}{blank(random)}:{spelled(each, random)}" for name, each in value.items()]
        return "{" + ",".join(random.sample(members, len(members))) + "}" + blank(random)
    if isinstance(value, list):
        return "[" + ",".join(spelled(each, random) for each in value) + "]" + blank(random)
    if isinstance(value, str) and digits(value) is None:
        return blank(random) + '"' + "".join(letter(each, random) for each in value) + '"'
    return blank(random) + (digits(value) or json.dumps(value)) + blank(random)


def blank(random: Random) -> str:
    """Return white space, mostly none."""
    return random.choice(["", "", "", " ", "\t", "\r\n", "\n  "])


def letter(character: str, random: Random) -> str:
    """Return a character of a text as it is, as a short escape, or as a numeric one."""
    short = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    units = character.encode("utf-16-be", "surrogatepass")
    number = "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
    ways = [random.choice([number, number.upper().replace("\\U", "\\u")])]
    if character in short:
        ways.append(short[character])
    if character >= " " and character not in '"\\' and not "\ud800" <= character <= "\udfff":
        ways += [character] * 6
    return random.choice(ways)


def respelled(records: list[Record], seed: int) -> Fault:
    """Rewrite each record of the response in a spelling of its own."""
    by_id = {without_mark(each["id"]): each for each in records}

    def act(exchange: Exchange) -> None:
        random = Random(seed)
        envelope = exchange.envelope
        items = [by_id[without_mark(each["id"])] for each in envelope["items"]]
        exchange.body = spelled(envelope | {"items": items}, random).encode()

    return Fault(f"respelled({seed})", act)


@given(served=SETS, seeds=st.lists(st.integers(0, 999), min_size=2, max_size=2, unique=True), cap=st.integers(3, 6))
@settings(**SETTINGS)
def test_object_is_the_same_for_any_spelling_and_paging(
    extract: Extract, tmp_path_factory: pytest.TempPathFactory, served: list[Record], seeds: list[int], cap: int
) -> None:
    found = []
    for seed, most in zip(seeds, (None, cap), strict=True):
        lake = Lake(tmp_path_factory.mktemp("spelled"))
        with Tenant(served, Habits(cap=most, ascii_only=True), faults=respelled(served, seed)) as tenant:
            extract(tenant, destination=lake.destination)
        found.append(lake.path(OBJECT).read_bytes())
        rows = {row["id"]: row for row in lake.rows()}
        for each in served:
            assert rebuilds(rows[without_mark(each["id"])], each), each
    assert found[0] == found[1]


# --- records that are published again ---------------------------------------------------------------------------------


@given(served=SETS)
@settings(**SETTINGS)
def test_rows_of_vanished_records_are_kept_unchanged(
    extract: Extract, tmp_path_factory: pytest.TempPathFactory, served: list[Record]
) -> None:
    lake = Lake(tmp_path_factory.mktemp("kept"))
    with Tenant(served, Habits(ascii_only=True), faults=RAW_NUMBERS) as tenant:
        extract(tenant, destination=lake.destination)
        rows = lake.rows()
        before = lake.path(OBJECT).read_bytes()
        for gone in (served[::2], served[1::2]):
            tenant.delete(*(each["id"] for each in gone))
            tenant.insert(record(10**30, hour(1), description=f"{len(gone)} records are gone"))
            extract(tenant, destination=lake.destination)
            assert lake.path(OBJECT).read_bytes() != before
            tenant.delete(10**30)
    assert lake.objects == [OBJECT]
    kept = [row for row in lake.rows() if row["id"] != str(10**30)]
    assert kept == rows
    assert len(rows) == len(served)


# --- records that cannot be kept --------------------------------------------------------------------------------------


UNUSABLE: st.SearchStrategy[Any] = st.sampled_from([None, "", True, [1], {}, "\ud800", raw("1.0"), raw("1e3")])


@given(served=st.lists(st.tuples(UNUSABLE, RECORDS), min_size=1, max_size=4), dated=st.booleans())
@settings(**SETTINGS)
def test_quarantine_keeps_any_record_unchanged(
    extract: Extract, tmp_path_factory: pytest.TempPathFactory, served: list[tuple[Any, Record]], dated: bool
) -> None:
    lake = Lake(tmp_path_factory.mktemp("apart"))
    times = {} if dated else {"created_at": None, "detected_at": "noon"}
    records = [fields | times | {"id": key, "place": place} for place, (key, fields) in enumerate(served)]
    with Tenant(records, Habits(ascii_only=True), faults=RAW_NUMBERS) as tenant:
        extract(tenant, destination=lake.destination, max_quarantined=len(records))
    lines = lake.path(QUARANTINE).read_text(encoding="utf-8").splitlines()
    kept = [json.loads(line, parse_int=Number, parse_float=Number) for line in lines]
    assert len(kept) == len(records)
    for each in kept:
        assert same(each, records[int(each["place"])])
