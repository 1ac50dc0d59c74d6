"""Audit as a self-contained HTML page."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import airflow_provider_cloudlock.cli.audit.html as html
from airflow_provider_cloudlock.cli.audit import Audit
from airflow_provider_cloudlock.cli.audit.html import as_html
from airflow_provider_cloudlock.cli.audit.inventory import Finding
from tests.cli.audit.receipts import audited, publish
from tests.operators.lake import DAY, FOLDER, NEXT, OBJECT, Lake

THIRD = "2026-01-04"
ROOT = Path(__file__).parents[3]
STYLE = Path(html.__file__).with_name("html.css").read_text()
#: Elements without an end tag.
VOID = {"meta", "br", "hr", "img", "input", "link", "circle"}


@dataclass
class Element:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]
    text: str = ""

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.attributes.get("class", "").split()


@dataclass
class Page(HTMLParser):
    """Parse a page and check that its elements are nested."""

    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {self.get_starttag_text()}"
        element = Element(tag, {key: value or "" for key, value in attrs}, tuple(each.tag for each in self.open))
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop().tag == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str = "", name: str = "") -> list[Element]:
        """Return the elements with a tag and a class; empty means any."""
        return [each for each in self.elements if tag in ("", each.tag) and (not name or name in each.classes)]

    @property
    def days(self) -> list[Element]:
        """The squares of the calendar."""
        return [each for each in self.all(name="day") if "main" in each.parents]


def page(found: Audit) -> Page:
    """Parse the page of an audit."""
    read = Page()
    read.feed(as_html(found))
    read.close()
    assert not read.open
    return read


@pytest.fixture
def found(lake: Lake) -> Audit:
    """Audit nine weeks with findings of several kinds."""
    for day in (DAY, NEXT, "2026-02-28", "2026-03-01"):
        publish(lake, day, rows=40, vanished_kept=2)
    publish(lake, "2026-02-01", rows=0)
    publish(lake, "2026-01-10", until=12, rows=1234)
    lake.write(f"threats/created_date={NEXT}/part-0001.parquet")
    lake.write("threats/created_date=2026-01-10/part-0001.parquet")
    return audited(lake, "2025-12-30", "2026-03-03")


def test_as_html_is_self_contained(found: Audit) -> None:
    text = as_html(found)
    read = page(found)
    assert not {each.tag for each in read.elements} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    }
    for element in read.elements:
        assert not [name for name in element.attributes if name.startswith("on") or name in ("src", "srcset", "action")]
        assert element.attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|@font-face|https?:|javascript:", text, re.IGNORECASE)
    (policy,) = (each.attributes["content"] for each in read.all("meta") if "http-equiv" in each.attributes)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert text.encode().decode() == text


def test_as_html_has_one_square_per_day(found: Audit) -> None:
    read = page(found)
    asked = [each for each in read.days if "out" not in each.classes]
    assert len(asked) == len(found.days) == 63
    assert [each.text for each in asked[:4]] == [
        "30gap",
        "31gap",
        "1gap",
        "240",
    ]
    names = [each.attributes["aria-label"].split(":")[0] for each in asked]
    assert names[:3] == ["Tuesday, 30 December 2025", "Wednesday, 31 December 2025", "Thursday, 1 January 2026"]
    assert len(set(names)) == 63
    assert len([each for each in read.days if "out" in each.classes]) == 29 + 29
    assert [each.text.split(" 2")[0] for each in read.all("caption")] == ["December", "January", "February", "March"]


def test_as_html_weeks_begin_on_monday(found: Audit) -> None:
    # 1 January 2026 was a Thursday: the first three squares of its week are empty.
    read = page(found)
    assert [each.text for each in read.all("th")[:7]] == ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
    january = as_html(found).split("<caption>")[2]
    assert re.search(r"<tbody><tr>(<td></td>){3}<td><a [^>]*Thursday, 1 January", january)
    assert all(row.count("<td") == 7 for row in january.split("<tbody>")[1].split("</tbody>")[0].split("</tr>")[:-1])


def test_as_html_findings_do_not_depend_on_colour(found: Audit) -> None:
    read = page(found)
    squares = {each.attributes["aria-label"].split(":")[0]: each for each in read.days if "out" not in each.classes}
    gap, part, odd, whole, empty = (
        squares[f"{day} 2026"]
        for day in (
            "Monday, 5 January",
            "Saturday, 10 January",
            "Saturday, 3 January",
            "Friday, 2 January",
            "Sunday, 1 February",
        )
    )
    assert (gap.classes[1], part.classes[1], odd.classes[1]) == ("gap", "gap", "odd")
    assert (gap.text, part.text, odd.text, whole.text, empty.text) == ("5gap", "10gap", "340", "240", "10")
    assert "Saturday, 10 January 2026: partial, foreign" in part.attributes["title"]
    assert "up to 2026-01-10T12:00:00+00:00" in part.attributes["title"]
    assert "foreign" in odd.attributes["aria-label"]
    assert "40 rows, proof: single response" in whole.attributes["title"]
    assert "2 vanished and kept, 0 quarantined" in whole.attributes["title"]
    for square in (gap, part, odd):
        assert square.tag == "a", "the keyboard focuses links"
    assert ".gap {\n  background: repeating-linear-gradient" in STYLE
    assert '.odd::after { content: "!"' in STYLE


def test_as_html_squares_link_to_their_findings(found: Audit) -> None:
    read = page(found)
    ids = [each.attributes["id"] for each in read.elements if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    links = [each.attributes["href"][1:] for each in read.days if each.tag == "a"]
    assert sorted(links) == sorted(ids)


def test_as_html_equal_findings_of_a_day_appear_once(lake: Lake) -> None:
    publish(lake)
    for name in ("odd\x1b.parquet", "odd\x1c.parquet"):
        lake.write(f"{FOLDER}/{name}")
    found = audited(lake)
    assert len(found.days[0].findings) == 2
    assert [len(days) for days, _ in found.found()] == [1]
    ids = [each.attributes["id"] for each in page(found).elements if "id" in each.attributes]
    assert ids == [f"f{DAY}"]


def test_as_html_has_title_summary_and_figures(found: Audit) -> None:
    read = page(found)
    (title,), (heading,) = read.all("title"), read.all("h1")
    assert title.text == "Cloudlock threats, 2025-12-30 to 2026-03-02"
    assert heading.text == found.summary
    (ring,) = read.all("svg")
    assert (ring.attributes["role"], ring.attributes["aria-label"]) == ("img", "4 of 63 days are complete")
    assert [each.attributes.get("lang") for each in read.all("html")] == ["en"]
    figures = dict(zip((e.text for e in read.all("dt")), (e.text for e in read.all("dd")), strict=True))
    assert figures["rows"] == "1,394"
    assert figures["vanished, kept"] == "8"
    rows = [each for each in read.all("tr") if "details" in each.parents]
    assert len(rows) == 1 + 63
    assert "counted by Cloudlock" not in figures
    days = tuple(replace(day, api_rows=1000) for day in found.days)
    asked = page(replace(found, days=days, against_api=True))
    figures = dict(zip((e.text for e in asked.all("dt")), (e.text for e in asked.all("dd")), strict=True))
    assert figures["counted by Cloudlock"] == "63,000"


def test_as_html_complete_lake_has_no_findings(lake: Lake) -> None:
    publish(lake, rows=1)
    read = page(audited(lake))
    assert not read.all("section", "findings")
    assert [each.text for each in read.days if "out" not in each.classes] == ["21"]


@pytest.mark.parametrize("most", [0, 1, 2, 3, 7, 24, 25, 26, 1000, 123_450, 123_457])
def test_legend_matches_the_shades_of_the_squares(lake: Lake, most: int) -> None:
    publish(lake, rows=most)
    found = audited(lake)
    numbers = {round(most * share / 50) for share in range(51)} | {0, most}
    numbers |= {n + step for n in numbers for step in (-1, 1) if 0 <= n + step <= most}
    days = tuple(replace(found.days[0], rows=rows) for rows in sorted(numbers))
    legend = {}
    for item in re.findall(r'<li><i class="day (l\d)"></i>([^<]*)</li>', html._legend(replace(found, days=days))):
        low, _, high = item[1].replace(",", "").partition(" to ")
        legend[item[0]] = (0, 0) if item[0] == "l0" else (int(low), int(high or low))
    for day in days:
        low, high = legend[f"l{html._level(day, replace(found, days=days))}"]
        assert low <= (day.rows or 0) <= high


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (9949, "9.9k"),
        (9950, "10k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (10**13, "10000G"),
    ],
)
def test_short_formats_four_characters(number: int, text: str) -> None:
    assert html._short(number) == text


def test_as_html_escapes_names(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "<b>&'\"" / "threats")
    publish(lake)
    lake.write(f'{FOLDER}/"><img src=x onerror=alert(1)>.parquet')
    lake.path(OBJECT).unlink()
    found = audited(lake)
    assert "<b>&'\"" in found.uri
    read = page(found)
    assert not read.all("img")
    assert not read.all("b", "uri")
    (uri,) = read.all("p", "uri")
    assert uri.text == found.uri
    (square,) = (each for each in read.days if each.tag == "a")
    assert '"><img src=x onerror=alert(1)>.parquet' in square.attributes["title"]


@pytest.mark.parametrize(
    ("kind", "style"),
    [
        *(("gap", "gap"), ("missing", "gap"), ("partial", "gap"), ("no receipt", "odd"), ("changed", "odd")),
        *(("unreadable", "odd"), ("foreign", "odd"), ("filter", "odd"), ("quarantine", "odd"), ("API has more", "odd")),
    ],
)
def test_as_html_finding_and_square_have_one_style(lake: Lake, kind: str, style: str) -> None:
    publish(lake)
    found = audited(lake)
    days = tuple(replace(day, findings=(Finding(kind, "why"),)) for day in found.days)
    read = page(replace(found, days=days))
    (square,) = (each for each in read.days if each.tag == "a")
    (label,) = read.all("em")
    assert (square.classes, label.classes, label.text) == (["day", style], [style], kind)


def test_wheel_contains_every_file_of_the_package(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    assert b".gap {" in packed["airflow_provider_cloudlock/cli/audit/html.css"]
    files = [file for file in (ROOT / "airflow_provider_cloudlock").rglob("*") if file.is_file()]
    for file in files:
        if file.suffix not in (".pyc", ".pyo"):
            assert packed[str(file.relative_to(ROOT))] == file.read_bytes()


# --- colours ----------------------------------------------------------------------------------------------------------


def palettes() -> list[dict[str, str]]:
    """Return the colours of the light and the dark theme."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    first = dict(re.findall(r"--([\w-]+): (#\w{6})", light))
    return [first, first | dict(re.findall(r"--([\w-]+): (#\w{6})", dark))]


def luminance(colour: str) -> float:
    """Return the relative luminance as defined by WCAG."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True])
def test_style_text_has_contrast_of_4_5(dark: bool) -> None:
    colours = palettes()[dark]
    pairs = [(f"l{n}", f"on{n}") for n in range(1, 6)] + [("odd", "on-odd"), ("l0", "ink")]
    pairs += [(ground, text) for ground in ("paper", "card") for text in ("ink", "soft")]
    pairs += [("gap", "white"), ("gap2", "white")]
    for ground, text in pairs:
        light, low = sorted(
            (luminance((colours | {"white": "#ffffff"})[name]) for name in (ground, text)), reverse=True
        )
        assert (light + 0.05) / (low + 0.05) >= 4.5, f"{text} on {ground}"


@pytest.mark.parametrize("dark", [False, True])
def test_style_shades_increase_with_rows(dark: bool) -> None:
    colours = palettes()[dark]
    away = [abs(luminance(colours[f"l{n}"]) - luminance(colours["card"])) for n in range(6)]
    assert away == sorted(away)
    assert len(set(away)) == 6
