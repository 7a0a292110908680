import codecs
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.config.toml_file import MAX_BYTES, Key, TomlFile, key_lines, place, read_toml, unreadable
from adsyncd.errors import ConfigError, Problem

DOCUMENT = '''\
# [not.a.table]
client_id = "acme"   # "quoted

"odd ] key".'#' = { a = "}", b.c = 1 }
text = """
fake = 1
[fake]
\\""" still text """"
literal = \'\'\'
[fake]\'\'\'\'
list = [
  "]", # ]
  { x = 1 },
]
[sync]
page_size = 10
list_cache = "[\\"0s\\"]"

[ a . "b.c" ] # comment
d.e = 1
[[rows]]
n = 1
[[rows]]
n = 2
last = 3
'''

LINES = {
    ("client_id",): 2,
    ("odd ] key",): 4,
    ("odd ] key", "#"): 4,
    ("odd ] key", "#", "a"): 4,
    ("odd ] key", "#", "b"): 4,
    ("odd ] key", "#", "b", "c"): 4,
    ("text",): 5,
    ("literal",): 9,
    ("list",): 11,
    ("sync",): 15,
    ("sync", "page_size"): 16,
    ("sync", "list_cache"): 17,
    ("a",): 19,
    ("a", "b.c"): 19,
    ("a", "b.c", "d"): 20,
    ("a", "b.c", "d", "e"): 20,
    ("rows",): 21,
    ("rows", "0"): 21,
    ("rows", "n"): 22,
    ("rows", "0", "n"): 22,
    ("rows", "1"): 23,
    ("rows", "1", "n"): 24,
    ("rows", "last"): 25,
    ("rows", "1", "last"): 25,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_each_key_is_found_at_the_line_where_its_statement_begins(newline: str) -> None:
    text = DOCUMENT.replace("\n", newline)
    tomllib.loads(text)
    assert key_lines(text) == LINES


NASTY = st.text(st.sampled_from("ab[]{}#='\"\\\n.,é "), max_size=12)
NAMES = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True), NASTY)


def _basic(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
    return '"' + "".join(escapes.get(character, character) for character in text) + '"'


def _multiline(text: str) -> str:
    return '"""' + text.replace("\\", "\\\\").replace('"""', '""\\"') + '"""'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "").replace("\n", "") + "'"


def _multiline_literal(text: str) -> str:
    return "'''" + text.replace("'''", "") + "'''"


STRINGS = st.builds(
    lambda write, text: write(text), st.sampled_from([_basic, _multiline, _literal, _multiline_literal]), NASTY
)
SCALARS = st.one_of(STRINGS, st.sampled_from(["1", "true", "1.5", "2026-01-01"]))
ARRAYS = st.lists(SCALARS, max_size=3).map(lambda values: "[\n" + "".join(f"{value}, # ]\n" for value in values) + "]")
FILLERS = st.sampled_from(["\n", "# [comment] \"'\n", "  \n", ""])


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Key, int]]:
    """Write a document statement by statement, and note where each of them begins."""
    text, table = "", Key()
    lines: dict[Key, int] = {}
    for number in range(draw(st.integers(0, 6))):
        text += draw(FILLERS)
        name = f"{number}{draw(NAMES)}"  # unlike all others
        if draw(st.booleans()):
            table = (name,)
            statement = f"[{_basic(name)}]"
            lines[table] = text.count("\n") + 1
        else:
            statement = f"{_basic(name)} = {draw(st.one_of(SCALARS, ARRAYS))}"
            lines[*table, name] = text.count("\n") + 1
        text += f"{statement}{draw(st.sampled_from(['', ' # = [']))}\n"
    return text, lines


@given(documents())
def test_lines_are_right_in_any_document(document: tuple[str, dict[Key, int]]) -> None:
    text, lines = document
    tomllib.loads(text)
    assert key_lines(text) == lines


def refusal(path: Path) -> Problem:
    with pytest.raises(ConfigError) as caught:
        read_toml(path, "fix it")
    [problem] = caught.value.problems
    assert problem.path == path
    return problem


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"a = 1\nb = \n", 2, "is not TOML: invalid value"),
        (b'a = 1\nb = "', 2, "is not TOML: unterminated string"),
        (b"a = 1\n\nb = '\xff'", 3, "is not UTF-8"),
        (b"\xff\xfea\x00", 1, "is not UTF-8"),
        (b"a = " + b"[" * 100_000, None, "has a value that is too long or nested too deep"),
        (b"a = " + b"1" * 100_000, None, "has a value that is too long or nested too deep"),
        (b"a." * 100_000 + b"a = 1", None, "has a value that is too long or nested too deep"),
        (b"#" * (MAX_BYTES + 1), None, "is larger than 1024 KiB, the limit"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_at_its_line(
    tmp_path: Path, content: bytes, line: int | None, what: str
) -> None:
    path = tmp_path / "acme.toml"
    path.write_bytes(content)
    problem = refusal(path)
    assert (problem.line, problem.what) == (line, what)
    assert problem.fix


def test_a_file_that_cannot_be_opened_is_refused_with_what_fixes_just_that(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    absent = refusal(tmp_path / "none.toml")
    assert (absent.what, absent.fix) == ("can't be read: No such file or directory", "fix it")
    assert refusal(tmp_path).fix == "put a file there"
    assert refusal(tmp_path / "file" / "acme.toml").fix == "put a directory there"
    assert unreadable(tmp_path, PermissionError(), "").fix == "make it readable for the user that runs adsyncd"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").fix == "put a file there"


def test_the_limit_of_a_file_is_its_reader_s_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_bytes(b"#" * 2048)
    assert read_toml(path, "", 2048).data == {}
    with pytest.raises(ConfigError, match="is larger than 1 KiB, the limit"):
        read_toml(path, "", 1024)


def test_the_mark_of_the_encoding_that_some_editors_write_first_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_bytes(codecs.BOM_UTF8 + b"a = 1\nb = 2")
    assert read_toml(path, "").data == {"a": 1, "b": 2}
    assert read_toml(path, "").lines == {("a",): 1, ("b",): 2}


@given(content=st.one_of(st.binary(max_size=60), NASTY.map(str.encode), documents().map(lambda made: made[0].encode())))
def test_no_content_raises_anything_but_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    try:
        file = read_toml(path, "")
    except ConfigError:
        return
    assert {key[0] for key in file.lines} == set(file.data)


def test_what_is_nested_as_deep_as_can_be_read_does_no_harm() -> None:
    for depth in range(1, 1_000):
        text = f"a = {'[' * depth}{']' * depth}"
        try:
            file = TomlFile(Path("a.toml"), text, tomllib.loads(text))
        except RecursionError:
            return
        assert file.lines in ({("a",): 1}, {})


def test_a_key_stands_in_the_last_file_that_has_it_and_a_missing_one_in_the_table_around_it() -> None:
    files = [
        TomlFile(Path(name), text, tomllib.loads(text))
        for name, text in [("main", "\n[sync]\na = 1\nb = 1\n[quota]"), ("override", "sync.b = 2\n")]
    ]
    assert place(("sync", "a"), files) == (Path("main"), 3)
    assert place(("sync", "b"), files) == (Path("override"), 1)
    assert place(("sync", "c"), files) == (Path("override"), 1)
    assert place(("quota", "per"), files) == (Path("main"), 5)
    assert place(("client_id",), files) == (Path("main"), None)


def test_a_table_in_an_array_in_an_array_is_found_by_both_indexes() -> None:
    text = "[[a]]\n[[a.b]]\nx = 1\n[[a.b]]\nx = 2\n[[a]]\n[[a.b]]\nx = 3\n"
    lines = key_lines(text)
    assert [lines["a", *indexes, "x"] for indexes in [("0", "b", "0"), ("0", "b", "1"), ("1", "b", "0")]] == [3, 5, 8]
    assert place(("a", "1", "b", "0", "y"), [TomlFile(Path("f"), text, tomllib.loads(text))]) == (Path("f"), 7)
