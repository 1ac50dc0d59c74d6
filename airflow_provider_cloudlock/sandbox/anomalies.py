"""Made-up anomalies, the same on every machine: a day, a count and a seed decide every byte of them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple, TypeVar

Anomaly = dict[str, Any]
T = TypeVar("T")

#: Ids of one day lie between ``day.toordinal() * IDS_PER_DAY`` and the same of the next day: unique over all days.
IDS_PER_DAY = 1_000_000

DAY = 86_400_000_000
HOUR = 3_600_000_000
MINUTE = 60_000_000
SECOND = 1_000_000


class Kind(NamedTuple):
    """What sort of anomaly it is; the description is filled in for each one."""

    threat_type: str
    threat_risk: str
    threat_entity: str
    short_description: str
    description: str


KINDS = (
    Kind(
        "SUSPICIOUS_LOGIN",
        "Account Compromise",
        "USER",
        "Login from an unusual country",
        "{who} signed in to {platform} {count} times from {place}, which this account had not done in the last 90 days."
        " None of the colleagues uses the network the sessions came from.",
    ),
    Kind(
        "SUSPICIOUS_LOGIN",
        "Account Compromise",
        "USER",
        "Impossible travel",
        "{who} was active on {platform} from {place} and, within the same hour, from another continent: {count} events."
        " Nobody travels that fast; a stolen session is likely.",
    ),
    Kind(
        "BRUTE_FORCE",
        "Account Compromise",
        "LOCATION",
        "Many failed logins",
        "{count} logins to {platform} failed for {who} in a few minutes, all of them from {place}. "
        "The last one succeeded, and the password has not been changed since then.",
    ),
    Kind(
        "MASS_DOWNLOAD",
        "Data Exfiltration",
        "FILE",
        "Unusual number of downloads",
        "{who} downloaded {count} files from {platform} in one session while in {place}. "
        "That is many times the daily average of the account, and most of the files had not been opened by it before.",
    ),
    Kind(
        "MASS_SHARING",
        "Data Exposure",
        "FILE",
        "Sudden sharing outside the company",
        "{count} documents on {platform} were shared by {who} with addresses outside the company, from {place}. "
        'Several of them carry the label "confidential".',
    ),
    Kind(
        "PRIVILEGE_CHANGE",
        "Insider Threat",
        "USER",
        "Administrator rights granted out of hours",
        "{who} granted administrator rights on {platform} {count} times outside office hours, from {place}. "
        "The accounts that received them had been created during the same week.",
    ),
    Kind(
        "MASS_DELETION",
        "Data Destruction",
        "FILE",
        "Unusual number of deletions",
        "{who} deleted {count} files on {platform} from {place} and then emptied the recycle bin. "
        "The files belonged to three teams, of which the account is not a member.",
    ),
    Kind(
        "RISKY_APP",
        "Malicious Application",
        "APP",
        "New application with wide access",
        '{who} let the application "Mail Merge Deluxe" read all mail and files on {platform}, from {place}. '
        "It made {count} calls in its first hour; nobody else in the company uses it.",
    ),
)
PLATFORMS = ("office365", "google", "salesforce", "box", "dropbox", "slack", "okta", "aws", "github", "servicenow")
PLACES = (
    "Malaysia", "France", "Portugal", "Brazil", "Côte d'Ivoire", "Viet Nam", "Canada", "Türkiye", "India", "Japan",
    "South Africa", "Norway", "United States", "México", "Egypt", "Australia", "Germany", "Curaçao", "Korea", "Chile",
)  # fmt: skip
REASONS = (
    "Known business travel",
    "Confirmed by the user",
    "Penetration test",
    "Company VPN",
    "False positive",
    "Password reset, sessions revoked",
)
FIRST_NAMES = (
    ("Ada", "ada"), ("Ben", "ben"), ("Zoë", "zoe"), ("Łukasz", "lukasz"), ("Mei", "mei"), ("Noah", "noah"),
    ("Søren", "soren"), ("Priya", "priya"), ("José", "jose"), ("Ivy", "ivy"), ("Omar", "omar"), ("Nguyệt", "nguyet"),
)  # fmt: skip
LAST_NAMES = (
    ("Sample", "sample"), ("Example", "example"), ("Müller", "muller"), ("Okafor", "okafor"), ("Żak", "zak"),
    ("Ito", "ito"), ("Singh", "singh"), ("Moreau", "moreau"), ("O'Neill", "oneill"), ("Silva", "silva"),
    ("Haddad", "haddad"), ("Berg", "berg"), ("Papadopoulou", "papadopoulou"), ("Quinn", "quinn"),
)  # fmt: skip
#: Display name, if there is one, and address.
ACCOUNTS: tuple[tuple[str | None, str], ...] = (
    *(
        (f"{first} {last}", f"{local_first}.{local_last}@example.com")
        for first, local_first in FIRST_NAMES
        for last, local_last in LAST_NAMES
    ),
    ("山田 さくら", "sakura.yamada@example.com"),
    ("Ольга Смирнова", "olga.smirnova@example.com"),
    ("ليلى حداد", "layla.haddad@example.com"),
    *((None, f"{name}@example.com") for name in ("finance", "shared", "backup-bot", "reception", "legal", "intern")),
)


def anomalies_of(day: datetime.date, count: int, seed: int = 0) -> tuple[Anomaly, ...]:
    """Return the anomalies created on a UTC day, oldest first, each as it stands in the end.

    :param day: the day of creation
    :param count: how many there are
    :param seed: another seed, other anomalies
    """
    return tuple(iter_anomalies(day, count, seed))


def iter_anomalies(day: datetime.date, count: int, seed: int = 0) -> Iterator[Anomaly]:
    """Yield what `anomalies_of` returns, one at a time: a large day need not be held as dictionaries."""
    if not 0 <= count <= IDS_PER_DAY:
        raise ValueError(f"a day holds 0 to {IDS_PER_DAY:,} anomalies, not {count:,}")
    # Only random() is promised to give the same numbers in every version of Python.
    draw = Random(f"{seed}/{day.isoformat()}").random
    midnight = datetime.datetime.combine(day, datetime.time(), datetime.UTC)
    first_id = day.toordinal() * IDS_PER_DAY

    def instant(microseconds: int) -> str:
        return (midnight + datetime.timedelta(0, 0, microseconds)).isoformat(timespec="microseconds")

    for number, created in enumerate(_moments(count, draw)):
        kind = _pick(KINDS, draw)
        created_at = instant(created)
        started = created - 5 * MINUTE - int(draw() * 3 * HOUR)
        name, email = _pick(ACCOUNTS, draw)
        users = [{"display_name": name, "email": email}]
        platforms = [_pick(PLATFORMS, draw)]
        places = [_pick(PLACES, draw)]
        event_count = 1 + int(draw() ** 3 * 400)
        # One draw for the rare shapes: a second user, platform or place, no place, an anomaly that goes on.
        shape = int(draw() * 32)
        if shape < 4:
            second_name, second_email = _pick(ACCOUNTS, draw)
            users.append({"display_name": second_name, "email": second_email})
        elif shape < 8:
            platforms.append(_pick(PLATFORMS, draw))
        elif shape < 12:
            places.append(_pick(PLACES, draw))
        elif shape == 12:
            places.clear()
        anomaly: Anomaly = {
            "status": "ACTIVE",
            "dismissed_at": None,
            "created_at": created_at,
            "dismiss_reason": None,
            "id": first_id + number,
            "short_description": kind.short_description,
            "start_time": instant(started),
            "threat_type": kind.threat_type,
            "threat_risk": kind.threat_risk,
            "threat_entity": kind.threat_entity,
            "platforms": platforms,
            "event_count": event_count,
            "updated_at": created_at,
            "end_time": None if shape == 13 else instant(started + int(draw() * (created - started))),
            "suspicious_ip": _address(draw),
            "locations": places,
            "users": users,
            "description": kind.description.format(
                who=name or email,
                platform=platforms[0],
                count=event_count,
                place=places[0] if places else "an unknown place",
            ),
        }
        if draw() < 1 / 6:
            dismissed_at = instant(created + 2 * HOUR + int(draw() * (5 * DAY - 2 * HOUR)))
            anomaly = dismissed(anomaly, dismissed_at, _pick(REASONS, draw))
        yield anomaly


def dismissed(anomaly: Anomaly, at: str, reason: str | None) -> Anomaly:
    """Return the anomaly as it stands after its dismissal."""
    return anomaly | {"status": "DISMISSED", "dismissed_at": at, "dismiss_reason": reason, "updated_at": at}


def undismissed(anomaly: Anomaly) -> Anomaly:
    """Return the anomaly as it stood before its dismissal: active, and unchanged since its creation."""
    before = {"status": "ACTIVE", "dismissed_at": None, "dismiss_reason": None, "updated_at": anomaly["created_at"]}
    return anomaly | before


def _moments(count: int, draw: Callable[[], float]) -> list[int]:
    """Return the microseconds of the day at which anomalies are created, with the moments where readers err."""
    moments = sorted(int(draw() * DAY) for _ in range(count))
    if count >= 2:
        moments[0] = 0 if count >= 4 else int(draw() * SECOND)
        moments[-1] = DAY - 1
    # Pages that end between two records of the very same instant are where a careless reader skips or repeats one.
    for number in range(2, count - 1, 9):
        moments[number] = moments[number - 1]
    return moments


def _pick(choices: Sequence[T], draw: Callable[[], float]) -> T:
    return choices[int(draw() * len(choices))]


def _address(draw: Callable[[], float]) -> str | None:
    """Return an address from the blocks reserved for documentation, or none."""
    number = int(draw() * 1024)
    if number < 512:
        return None
    return f"2001:db8::{number:x}" if number >= 960 else f"203.0.113.{number & 255}"
