"""What a row says does not depend on how its record was spelled, nor on how often it was published since."""

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
from tests.support import Exchange, Fault, Habits, Record, Tenant

SETTINGS: dict[str, Any] = {
    "max_examples": 12,
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],  # to find a smaller example takes longer than to read one
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
    """Write a value as JSON, in one of the many ways that mean the same."""
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
    """Write a character of a text as it is, by its short escape, or by its number."""
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
    """Answer as it would be answered, every record written in some way of its own."""
    by_id = {without_mark(each["id"]): each for each in records}

    def act(exchange: Exchange) -> None:
        random = Random(seed)
        envelope = exchange.envelope
        items = [by_id[without_mark(each["id"])] for each in envelope["items"]]
        exchange.body = spelled(envelope | {"items": items}, random).encode()

    return Fault(f"respelled({seed})", act)


@given(served=SETS, seeds=st.lists(st.integers(0, 999), min_size=2, max_size=2, unique=True), cap=st.integers(3, 6))
@settings(**SETTINGS)
def test_however_records_are_spelled_and_paged_the_object_is_the_same(
    extract: Extract, tmp_path_factory: pytest.TempPathFactory, served: list[Record], seeds: list[int], cap: int
) -> None:
    found = []
    for seed, most in zip(seeds, (None, cap), strict=True):
        lake = Lake(tmp_path_factory.mktemp("spelled") / "threats")
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
def test_rows_of_records_that_are_gone_are_handed_on_as_they_were(
    extract: Extract, tmp_path_factory: pytest.TempPathFactory, served: list[Record]
) -> None:
    lake = Lake(tmp_path_factory.mktemp("kept") / "threats")
    with Tenant(served, Habits(ascii_only=True), faults=RAW_NUMBERS) as tenant:
        for start, end in ((0, 12), (12, 24)):
            extract(tenant, hour(start), hour(end), destination=lake.destination)
        rows = sorted(lake.rows(), key=lambda row: str(row["id"]))
        tenant.delete(*(each["id"] for each in served[::2]))
        extract(tenant, destination=lake.destination)
        tenant.delete(*(each["id"] for each in served[1::2]))
        extract(tenant, destination=lake.destination)
    assert lake.objects == [OBJECT]
    assert sorted(lake.rows(), key=lambda row: str(row["id"])) == rows
    assert len(rows) == len(served)


# --- records that cannot be kept --------------------------------------------------------------------------------------


UNUSABLE: st.SearchStrategy[Any] = st.sampled_from([None, "", True, [1], {}, "\ud800", raw("1.0"), raw("1e3")])


@given(served=st.lists(st.tuples(UNUSABLE, RECORDS), min_size=1, max_size=4), dated=st.booleans())
@settings(**SETTINGS)
def test_a_record_in_quarantine_is_the_record(
    extract: Extract, tmp_path_factory: pytest.TempPathFactory, served: list[tuple[Any, Record]], dated: bool
) -> None:
    lake = Lake(tmp_path_factory.mktemp("apart") / "threats")
    times = {} if dated else {"created_at": None, "detected_at": "noon"}
    records = [fields | times | {"id": key, "place": place} for place, (key, fields) in enumerate(served)]
    with Tenant(records, Habits(ascii_only=True), faults=RAW_NUMBERS) as tenant:
        extract(tenant, destination=lake.destination, max_quarantined=len(records))
    lines = lake.path(QUARANTINE).read_text(encoding="utf-8").splitlines()
    kept = [json.loads(line, parse_int=Number, parse_float=Number) for line in lines]
    assert len(kept) == len(records)
    for each in kept:
        assert same(each, records[int(each["place"])])
