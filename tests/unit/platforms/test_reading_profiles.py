"""What a profile can say of records and their fields, on any platform."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import BadAnswer, ProfileMismatch
from adsyncd.model.campaign import Campaign, Oddities
from adsyncd.model.profile import FieldPlace, Paging, PagingKind, Profile, Times
from adsyncd.platforms.json_text import parsed
from adsyncd.platforms.reading import Finding, Listed, Reader, findings

ID = FieldPlace("id", ("id",))


def described(*fields: FieldPlace, **listing: Any) -> Profile:  # noqa: ANN401 - what a listing has
    profile = shipped_profile()
    changes: dict[str, Any] = {"paging": Paging(), **listing}
    return replace(profile, name="orbit", listing=replace(profile.listing, **changes), fields=(ID, *fields))


def read(profile: Profile, answer: object, number: int = 1) -> Listed:
    return Reader(profile).read(json.dumps(answer).encode(), number)


def of_one(profile: Profile, record: dict[str, object]) -> Campaign:
    listed = read(profile, {"data": [{"id": "1", **record}]})
    assert listed.odd == Oddities()
    [campaign] = listed.campaigns
    return campaign


# Records


@pytest.mark.parametrize(
    ("path", "answer"),
    [("data", {"data": [{"id": "1"}]}), ("a.b.c", {"a": {"b": {"c": [{"id": "1"}]}}}), ("", [{"id": "1"}])],
)
def test_records_are_where_the_path_leads(path: str, answer: object) -> None:
    listed = read(described(records=path), answer)
    assert ([campaign.id for campaign in listed.campaigns], listed.items) == (["1"], 1)


@pytest.mark.parametrize(
    ("answer", "level", "names"),
    [
        ({}, "", ()),
        ({"b": 1, "c": 2}, "", ("b", "c")),
        ({"a": None, "x": 1}, "", ()),
        ({"a": {}}, "a", ()),
        ({"a": {"c": 1, "d": 2}}, "a", ("c", "d")),
        ({"a": 7, "x": 1}, "a", ()),
        ({"a": [{"b": []}]}, "a", ()),
    ],
)
def test_a_path_that_leads_to_nothing_is_told_with_what_is_there(
    answer: object, level: str, names: tuple[str, ...]
) -> None:
    with pytest.raises(ProfileMismatch) as mismatch:
        read(described(records="a.b"), answer)
    said = "the profile orbit does not fit the platform's answer: a.b leads to nothing"
    assert str(mismatch.value) == said
    assert mismatch.value.level == level
    if names:
        assert mismatch.value.names == names
        told = str(mismatch.value.with_names(str.upper))
        assert told == f"{said}; {level or 'it'} has {', '.join(names).upper()}"


def test_of_very_many_names_the_first_are_told_and_shortened() -> None:
    with pytest.raises(ProfileMismatch) as mismatch:
        read(described(records="a"), {f"{number:03}" + "x" * 100: 1 for number in range(100)})
    told = str(mismatch.value.with_names(lambda names: names))
    assert told.endswith("007" + "x" * 37)
    assert "008" not in told


@pytest.mark.parametrize(("path", "answer"), [("", {}), ("", None), ("a", []), ("a", {"a": {}}), ("a", {"a": "x"})])
def test_what_is_no_list_is_a_bad_answer_and_no_mismatch(path: str, answer: object) -> None:
    with pytest.raises(BadAnswer) as refused:
        read(described(records=path), answer)
    assert not isinstance(refused.value, ProfileMismatch)


@pytest.mark.parametrize("answer", [{}, {"a": None}, {"a": {}}, {"a": {"b": None}}, {"x": 1}])
def test_a_list_may_be_left_out_where_the_profile_says_so(answer: object) -> None:
    assert read(described(records="a.b", absent_is_empty=True), answer).items == 0


@pytest.mark.parametrize("answer", [{"a": 7}, {"a": []}, {"error": {"code": 1}}, {"errors": ["x"], "a": {}}, []])
def test_a_list_is_not_left_out_where_something_else_is_there_or_an_error(answer: object) -> None:
    with pytest.raises(BadAnswer):
        read(described(records="a.b", absent_is_empty=True), answer)


def test_what_was_parsed_already_is_not_parsed_again() -> None:
    reader = Reader(described())
    assert reader.read(b"?", 1, {"data": [{"id": "7"}]}).campaigns[0].id == "7"
    body = b'{"data": [{"id": "7", "extra": 1e999}]}'
    assert reader.read(body, 1, json.loads(body)) == reader.read(body, 1, parsed(body)) == reader.read(body, 1)


# Fields


def test_a_field_of_the_record_s_depth_is_read_and_named_by_its_path() -> None:
    profile = described(FieldPlace("name", ("campaign.name",)), FieldPlace("budget", ("campaign.budget.amount",)))
    record: dict[str, object] = {"campaign": {"name": "Spring", "budget": {"amount": "10.5"}}}
    campaign = of_one(profile, record)
    assert (campaign.name, campaign.budget, json.loads(campaign.payload)) == ("Spring", 10.5, {"id": "1", **record})
    listed = read(profile, {"data": [{"id": "1", "campaign": {"name": [], "budget": 7}}]})
    assert str(listed.odd) == "1: campaign.name is not text"
    assert str(listed.lacking) == "1 lacks campaign.budget.amount"


def test_a_nested_id_is_told_by_its_path() -> None:
    profile = described()
    profile = replace(profile, fields=(FieldPlace("id", ("campaign.id", "key")),))
    listed = read(profile, {"data": [{"campaign": {"id": 7}}, {"key": "k"}, {"campaign": {"id": []}}, {"x": 1}]})
    assert [campaign.id for campaign in listed.campaigns] == ["7", "k"]
    assert listed.odd.first == (
        "page 1, item 3: campaign.id is neither text nor a number",
        "page 1, item 4: campaign.id or key is missing",
    )


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"a": "A", "b": {"c": "C"}}, "A"),
        ({"b": {"c": "C"}}, "C"),
        ({"a": None, "b": {"c": "C"}}, "C"),
        ({"a": ""}, ""),
        ({"a": None}, None),
        ({"a": "A", "b": 7}, "A"),
    ],
)
def test_of_several_paths_the_first_that_leads_to_a_value_counts(record: dict[str, object], name: str | None) -> None:
    assert of_one(described(FieldPlace("name", ("a", "b.c"))), record).name == name


def test_of_several_paths_all_are_named_if_none_leads_to_anything() -> None:
    listed = read(described(FieldPlace("budget", ("daily", "total.amount"))), {"data": [{"id": "1"}]})
    assert (listed.odd.count, str(listed.lacking)) == (0, "1 lacks daily or total.amount")


def test_a_field_that_the_profile_lacks_is_null_and_no_record_lacks_it() -> None:
    campaign = of_one(described(), {"name": "Spring", "clicks": 7})
    fields = ("name", "status", "budget", "currency", "impressions", "clicks", "conversions", "created_at")
    assert {getattr(campaign, field) for field in fields} == {None}
    assert read(described(), {"data": [{"id": "1"}]}).lacking == Oddities()


@pytest.mark.parametrize(
    ("place", "value", "column"),
    [
        (FieldPlace("budget", ("v",), scale=1e-6), "12340000", 12.34),
        (FieldPlace("currency", ("v",)), "EUR", "EUR"),
        (FieldPlace("clicks", ("v",)), "4410", 4410),
        (
            FieldPlace("created_at", ("v",), time=Times.MILLISECONDS),
            1704164645000,
            datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
        (FieldPlace("created_at", ("v",), time=Times.SECONDS), "1704164645", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (
            FieldPlace("created_at", ("v",), time=Times.TEXT),
            "2024-01-02 03:04:05",
            datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        ),
        (FieldPlace("created_at", ("v",)), 1704164645000, datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_values_are_read_as_the_profile_says(place: FieldPlace, value: object, column: object) -> None:
    assert getattr(of_one(described(place), {"v": value}), place.column) == column


def test_what_an_answer_says_of_its_listing_is_where_the_paths_lead() -> None:
    paging = Paging(PagingKind.NUMBER, "p", None, has_more="meta.more", total="meta.total")
    listed = read(described(paging=paging), {"data": [], "meta": {"more": "TRUE", "total": "7"}})
    assert (listed.has_more, listed.total, listed.next) == (True, 7, None)
    cursor = Paging(PagingKind.CURSOR, "p", None, next="meta.cursor")
    assert read(described(paging=cursor), {"data": [], "meta": {"cursor": 7}}).next == 7
    for beside in ({}, {"meta": None}, {"meta": "x"}, {"meta": {"cursor": None, "more": None, "total": "many"}}):
        for each in (paging, cursor):
            listed = read(described(paging=each), {"data": [], **beside})
            assert (listed.has_more, listed.total, listed.next) == (None, None, None)


# Findings


def test_a_finding_says_where_a_field_has_its_value_and_what_it_was_read_as() -> None:
    profile = described(
        FieldPlace("name", ("title", "campaign.name")),
        FieldPlace("budget", ("campaign.budget",), scale=0.01),
        FieldPlace("clicks", ("campaign.stats.clicks", "clicks")),
        FieldPlace("status", ("campaign.state",)),
    )
    record = {"id": 7, "campaign": {"name": "Spring", "budget": [], "stats": {"views": 1, "taps": 2}, "state": None}}
    assert findings(profile, record) == [
        Finding("id", ("id",), "id", 7, "7", None, ()),
        Finding("name", ("title", "campaign.name"), "campaign.name", "Spring", "Spring", None, ()),
        Finding("budget", ("campaign.budget",), "campaign.budget", [], None, "is not a number", ()),
        Finding(
            "clicks",
            ("campaign.stats.clicks", "clicks"),
            None,
            None,
            None,
            None,
            ("campaign.stats.taps", "campaign.stats.views"),
        ),
        Finding("status", ("campaign.state",), "campaign.state", None, None, None, ()),
    ]


@pytest.mark.parametrize("record", [None, 7, [], "x"])
def test_what_is_no_record_has_no_findings(record: object) -> None:
    assert {(each.path, each.beside) for each in findings(described(), record)} == {(None, ())}
