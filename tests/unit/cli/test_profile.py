"""`adsyncd profile`, called in this process as the shell calls it."""

import json
from pathlib import Path

import pytest

from adsyncd.cli import profile
from adsyncd.config.profile_file import SHIPPED, shipped_names
from support.commands import Call, Said

MINE = """\
base_url = "https://ads.example.com"
vars = ["region"]
[sign_in]
static = "api_key"
[list]
path = "/v1/{var.region}/{account}/campaigns"
records = "data"
[fields]
id = "id"
"""


@pytest.fixture
def mine(folder: Path) -> Path:
    path = folder / "mine.toml"
    path.write_text(MINE)
    return path


def test_check_says_what_a_profile_describes(call: Call, mine: Path) -> None:
    out = f"""\
base_url: https://ads.example.com
sign-in:  the secret api_key is the token; sent as authorization: Bearer TOKEN
listing:  GET /v1/{{var.region}}/{{account}}/campaigns, records at data
paging:   none: one page
fields:   id
push:     none: pull only
secrets:  api_key (in the credentials)
vars:     region (in each drop-in)
{mine} is valid
"""
    assert call("profile", "check", str(mine)) == Said(0, out, "")


def test_check_prints_json(call: Call, mine: Path) -> None:
    described = {
        "name": "mine",
        "file": str(mine),
        "base_url": "https://ads.example.com",
        "push": False,
        "paging": "none",
        "fields": ["id"],
        "secrets": ["api_key"],
        "vars": ["region"],
    }
    said = call("profile", "check", str(mine), "--json")
    assert (said.code, json.loads(said.out)) == (0, {"profile": described, "problems": []})


def test_check_exits_1_with_every_problem_and_its_place(
    call: Call, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine.write_text(MINE.replace('static = "api_key"', 'static = "api key"').replace("records", "recods"))
    monkeypatch.chdir(mine.parent)
    said = call("profile", "check", "mine.toml")
    lines = said.out.splitlines()
    assert said.code == 1
    assert [line.partition(": ")[0] for line in lines] == [f"{mine}:4", f"{mine}:5", f"{mine}:7"]
    assert 'did you mean "records"?' in lines[2]
    assert said.err == "3 problems\n"
    asjson = json.loads(call("profile", "check", "mine.toml", "--json").out)
    assert asjson["profile"] is None
    assert [problem["line"] for problem in asjson["problems"]] == [4, 5, 7]


def test_list_names_the_profiles_that_adsyncd_has_and_those_of_the_settings(
    call: Call, folder: Path, mine: Path
) -> None:
    with (folder / "adsyncd.toml").open("a") as settings:
        settings.write(f'[platforms.own]\nprofile = "{mine}"\n[platforms.facebook]\nprofile = "meta"\n')
    said = call("profile", "list", "--json")
    assert said.code == 0
    profiles = {one["name"]: one for one in json.loads(said.out)["profiles"]}
    assert list(profiles) == [*shipped_names(), "mine"]
    assert {name: one["platforms"] for name, one in profiles.items() if one["platforms"]} == {
        "adsyncd": ["mixo"],
        "meta": ["facebook"],
        "mine": ["own"],
    }
    assert (profiles["adsyncd"]["push"], profiles["adsyncd"]["secrets"]) == (True, ["email", "password"])
    assert profiles["mine"]["vars"] == ["region"]
    assert profiles["meta"]["file"] == str(SHIPPED / "meta.toml")


def test_list_prints_a_table(call: Call) -> None:
    head, *rows = call("profile", "list").out.splitlines()
    assert head.split() == ["profile", "campaigns", "base_url", "secrets", "vars", "platforms", "file"]
    [meta] = [row.split() for row in rows if row.startswith("meta")]
    assert meta[:5] == ["meta", "pull", "only", "https://graph.facebook.com", "access_token"]
    assert str(SHIPPED / "meta.toml").startswith(meta[5])  # folded if it is long


def test_list_needs_no_settings(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "DEFAULT_PATH", tmp_path / "none.toml")
    said = call("profile", "list", "--json", "--config", str(tmp_path / "none.toml"))
    assert [one["name"] for one in json.loads(said.out)["profiles"]] == list(shipped_names())
    assert call("profile", "list", "--config", str(tmp_path / "other.toml")).code == 1


def test_list_exits_1_for_a_profile_of_the_settings_with_a_problem(call: Call, folder: Path, mine: Path) -> None:
    with (folder / "adsyncd.toml").open("a") as settings:
        settings.write(f'[platforms.own]\nprofile = "{mine}"\n')
    mine.write_text("")
    said = call("profile", "list")
    assert said.code == 1
    assert "mine" not in said.out
    assert said.err.splitlines()[0].startswith(f"{mine}: fields: is missing")


@pytest.fixture
def answer(folder: Path) -> Path:
    path = folder / "answer.json"
    path.write_text('{"data": [{"id": 7, "name": "Spring"}]}')
    return path


def test_check_shows_what_the_profile_makes_of_a_saved_answer(call: Call, mine: Path, answer: Path) -> None:
    said = call("profile", "check", str(mine), "--answer", str(answer))
    assert (said.code, said.err) == (0, "")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines[-5:] == [
        "records: 1 at data",
        "next page: none",
        "total: not stated",
        "column path records value read as",
        "id id 1 of 1 7 7",
    ]


def test_check_exits_1_if_a_path_finds_nothing_in_the_answer(call: Call, mine: Path, answer: Path) -> None:
    mine.write_text(mine.read_text().replace('id = "id"', 'id = "id"\nname = "title"'))
    said = call("profile", "check", str(mine), "--answer", str(answer))
    assert (said.code, said.err) == (1, "error: no record has a value for name\n")
    assert "name: nothing there; a record has id, name" in said.out


def test_check_gives_the_same_as_json(call: Call, mine: Path, answer: Path) -> None:
    shown = json.loads(call("profile", "check", str(mine), "--answer", str(answer), "--json").out)
    assert shown["answer"]["records"] == 1
    assert [(one["column"], one["value"], one["read_as"]) for one in shown["answer"]["columns"]] == [("id", "7", "7")]
    assert "answer" not in json.loads(call("profile", "check", str(mine), "--json").out)


def test_check_says_where_the_records_are_not(call: Call, mine: Path, answer: Path) -> None:
    answer.write_text('{"items": []}')
    said = call("profile", "check", str(mine), "--answer", str(answer))
    assert said.code == 1
    assert "data leads to nothing; it has items" in said.err


def test_check_says_that_the_answer_is_missing(call: Call, mine: Path, answer: Path) -> None:
    answer.unlink()
    said = call("profile", "check", str(mine), "--answer", str(answer))
    assert said.code == 1
    assert (
        said.err == f"error: {answer}: can't be read: No such file or directory; save an answer of the platform there\n"
    )


def test_check_reads_no_answer_that_a_run_would_not_read(call: Call, mine: Path, answer: Path) -> None:
    answer.write_bytes(b" " * (8 * 2**20 + 1))
    said = call("profile", "check", str(mine), "--answer", str(answer))
    assert said.code == 1
    assert f"{answer}: is larger than 8 MiB, up to which a run reads a page; save a smaller page" in said.err
