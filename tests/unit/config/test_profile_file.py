import os
from pathlib import Path

import pytest

from adsyncd.config.profile_file import (
    BUILT_IN,
    SHIPPED,
    find_profile,
    load_profile,
    shipped_names,
    shipped_profile,
)
from adsyncd.errors import ConfigError, Problem

LEAST = """\
[sign_in]
static = "access_token"
[list]
path = "/v1/campaigns"
records = "data"
[fields]
id = "id"
"""
CANARY = "Canary-4b1d"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def problems(path: Path, text: str | bytes | None = None) -> list[Problem]:
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    return caught.value.problems


def problem(path: Path, text: str | bytes | None = None) -> Problem:
    [found] = problems(path, text)
    assert found.path == path
    assert found.fix
    return found


@pytest.mark.parametrize("name", shipped_names())
def test_each_profile_that_adsyncd_has_is_valid_and_read_once(name: str) -> None:
    assert shipped_profile(name).name == name
    assert shipped_profile(name) is shipped_profile(name)
    assert shipped_profile() is shipped_profile(BUILT_IN)


def test_a_profile_is_found_by_its_name_or_its_path(path: Path) -> None:
    assert find_profile("meta") == SHIPPED / "meta.toml"
    assert find_profile(str(path)) == path
    assert BUILT_IN in shipped_names()


def test_a_profile_is_named_as_its_file_is(path: Path) -> None:
    path.write_text(LEAST)
    assert load_profile(path).name == "mine"
    assert load_profile(path).secrets == ("access_token",)


@pytest.mark.parametrize(
    ("text", "line", "key", "what", "fix"),
    [
        (LEAST + "[puhs]", 8, "puhs", "unknown key", 'did you mean "push"?'),
        (LEAST.replace("records", "jsn"), 5, "list.jsn", "unknown key", 'did you mean "json"?'),
        (LEAST + "[push]\nin = 1", 9, "push.in", "unknown key", None),
        (LEAST.replace("id =", "name ="), 6, "fields.id", "is missing", 'add id = "id"'),
        (
            LEAST.replace('"data"', '"data"\njson = "x"'),
            6,
            "list.json",
            'expected a table, got "x"',
            'for example json = { AdvertiserId = "{account}" }',
        ),
        (
            LEAST.replace('"data"', '"data"\n[list.paging]\nin = "path"'),
            7,
            "list.paging.in",
            'expected "query" or "body", got "path"',
            'for example in = "query"',
        ),
        (
            LEAST + '[headers]\nX-A = "{acount}"',
            9,
            "headers.X-A",
            "has {acount}, which nothing fills here",
            "did you mean {account}?",
        ),
        (
            LEAST + '[[answers]]\nmeans = "later"\nstatus = 420\n[[answers]]\nmeans = "x"\nstatus = 420',
            12,
            "answers.1.means",
            'expected "throttled", "sign-in", "later" or "refused", got "x"',
            'for example means = "throttled"',
        ),
        (
            LEAST + "[[answers]]\nstatus = 420\n[[answers]]\nmeans = 'later'",
            8,
            "answers.0.means",
            "is missing",
            'add means = "throttled"',
        ),
        (LEAST.replace('static = "access_token"', ""), 1, "sign_in", "needs exactly one of static and url", None),
        (LEAST.replace('id = "id"', "id = 5"), 7, "fields.id", None, 'for example id = "id"'),
        (LEAST.replace('"data"', '"a..b"'), 5, "list.records", None, 'for example records = "data"'),
        (LEAST.replace('"data"', '"a.*.b"'), 5, "list.records", None, 'for example records = "data"'),
        (LEAST.replace("/v1/", "v1/"), 4, "list.path", "expected a path that begins with one /", None),
        (LEAST.replace("/v1/", "//v1/"), 4, "list.path", "expected a path that begins with one /", None),
        (LEAST.replace("/v1/", "/v1/../"), 4, "list.path", 'must not have the segments "." or ".."', None),
        (LEAST.replace("/v1/", "/v 1/"), 4, "list.path", "has ' ', which no address may have", "write %20"),
        (LEAST.replace("/v1/", "/{A}/"), 4, "list.path", "has '{', which no address may have", "write %7B"),
        (LEAST.replace("/v1/", "/é/"), 4, "list.path", "has '\\xe9', which no address may have", "write %C3%A9"),
        (
            LEAST.replace('static = "access_token"', 'url = "https://{account}/x"\nbasic = ["a", "b"]'),
            2,
            "sign_in.url",
            "must not have a placeholder in its host",
            "name the host itself",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_its_key_and_the_fix(
    path: Path, text: str, line: int, key: str, what: str | None, fix: str | None
) -> None:
    [found] = [one for one in problems(path, text) if one.key == key]
    assert found.line == line
    assert what is None or found.what == what
    assert fix is None or found.fix == fix


def test_all_mistakes_are_told_in_the_order_of_lines(path: Path) -> None:
    text = LEAST.replace("records", "recods").replace("access_token", "access token") + "x = 1\n"
    assert [(one.line, one.key) for one in problems(path, text)] == [
        (2, "sign_in.static"),
        (3, "list.records"),
        (5, "list.recods"),
        (8, "fields.x"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        f'static = "{CANARY}"',
        f'url = "/token"\nbasic = ["user", "{CANARY}"]',
        f'url = "/token?key={CANARY} x"',
        f'url = "{CANARY}"',
        f'url = "https://user:{CANARY}@host/"',
        f'url = "/t"\nform = "{CANARY}"',
        f'url = "/t"\nform = {{ key = ["{CANARY}"] }}',
        f'url = "/t"\njson = "{CANARY}"',
        f'url = "/t"\nheaders = {{ X-Key = "{CANARY} " }}',
        f'url = "/t"\nheaders = {{ X-Key = ["{CANARY}"] }}',
        f'url = "/t"\nheaders = "{CANARY}"',
        f'url = "/t"\nmethod = "{CANARY}"',
        f'url = "/t"\nform = {{ a = "{CANARY}{{acount}}{{secret.a}}" }}',
    ],
)
def test_no_secret_that_stands_in_the_wrong_place_is_repeated(path: Path, text: str) -> None:
    found = problems(path, LEAST.replace('static = "access_token"', text) + f'[headers]\nX-Key = "{CANARY}\\t"\n')
    assert found
    assert CANARY not in str(found)
    listed = problems(path, LEAST.replace("/v1/", f"/v1 /?access_token={CANARY}") + f"[token]\nheader = '{CANARY}é'")
    assert len(listed) == 2
    assert CANARY not in str(listed)


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"[sign_in\n", 1, "is not TOML: "),
        (b'x = "\xff"', 1, "is not UTF-8"),
        (b"#" * 65_537, None, "is larger than 64 KiB, the limit"),
        (b"x = " + b"[" * 5_000 + b"]" * 5_000, None, "has a value that is too long or nested too deep"),
        (b"x = " + b"[" * 40 + b"]" * 40, None, "has more than 32 levels of tables"),
        (b"x" + b".x" * 200 + b" = 1", None, "has more than 32 levels of tables"),
        (b"x = [\n" + (b"{" + b"x." * 200 + b"x = [\n") * 60 + b"]}\n" * 60 + b"]", None, "has more than 32 levels"),
        (b"x = " + b"9" * 5_000, None, "has a value that is too long or nested too deep"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(path: Path, content: bytes, line: int | None, what: str) -> None:
    found = problem(path, content)
    assert found.line == line
    assert found.what.startswith(what)


def test_a_missing_profile_names_those_that_there_are(path: Path) -> None:
    found = problem(path)
    assert found.what == "can't be read: No such file or directory"
    assert found.fix == f"create it, or name one that adsyncd has: {', '.join(shipped_names())}"
    assert "adsyncd, " in found.fix


def test_what_is_no_file_is_refused(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    assert problem(path).what == "is not a regular file"
    path.rmdir()
    os.mkfifo(path)
    assert problem(path).what == "is not a regular file"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert problem(path).what == "is a link to a file outside of its folder"
    path.unlink()
    path.symlink_to(path)
    assert problem(path).what.startswith("can't be read: ")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="can't be read: Not a directory"):
        load_profile(tmp_path / "file" / "mine.toml")


def test_a_link_may_lead_to_a_file_below_its_folder(path: Path, tmp_path: Path) -> None:
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1" / "mine.toml").write_text(LEAST)
    (tmp_path / "..data").symlink_to("..1")
    path.symlink_to("..data/mine.toml")
    assert load_profile(path).name == "mine"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link.toml").symlink_to(path)
    assert problem(tmp_path / "folder" / "link.toml").what == "is a link to a file outside of its folder"


def test_a_file_that_others_may_change_is_refused_and_so_is_one_in_such_a_folder(path: Path, tmp_path: Path) -> None:
    path.write_text(LEAST)
    path.chmod(0o646)
    found = problem(path)
    assert found.what == "is writable by others than root and the daemon's user"
    assert found.fix == f"chmod go-w {path}"
    path.chmod(0o644)
    tmp_path.chmod(0o777)
    [of_folder] = problems(path)
    assert (of_folder.path, of_folder.fix) == (tmp_path, f"chmod go-w {tmp_path}")
    tmp_path.chmod(0o755)
    assert load_profile(path).name == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_a_stranger_is_refused(path: Path) -> None:
    path.write_text(LEAST)
    os.chown(path, 12345, 12345)
    assert problem(path).what == "belongs to user 12345, who may change it"


def test_an_unreadable_file_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(LEAST)

    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    found = problem(path)
    assert found.what == "can't be read: Permission denied"
    assert found.fix == "make it readable for the user that runs adsyncd"
