"""One table of the settings is known while the rest is invalid, and never guessed."""

from pathlib import Path

import pytest

from adsyncd.config import control_socket, page_socket, store_settings
from adsyncd.errors import ConfigError

DEFAULT = Path("/run/adsyncd/control.sock")
OURS = Path("/run/ours.sock")
CONTROL = '[control]\nsocket = "/run/ours.sock"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "adsyncd.toml"


@pytest.mark.parametrize(
    ("text", "socket"),
    [
        ("wach = true\n", DEFAULT),
        (f"wach = true\n{CONTROL}", OURS),
        (f"wach = \n{CONTROL}[vault]\naddress = nonsense\n", OURS),
        (f"[vault\naddress = 1\n{CONTROL}", OURS),
        (f"{CONTROL}[store\n", OURS),
        ('wach\ncontrol.socket = "/run/ours.sock"\n', None),  # no line of it can be told from the wrong one
        ('control = { socket = "/run/ours.sock" }\n[vault]\nbroken\n', OURS),
        ('control.socket = "/run/ours.sock"\n[vault]\nbroken\n', OURS),
        ("[vault]\nbroken # control\n", DEFAULT),
        ("broken\n[stores.control-room]\n", None),
        ('[control\nsocket = "/run/ours.sock"\n', None),
        ("[control]\nsocket = /run/ours.sock\n", None),
        (f"{CONTROL}{CONTROL}", None),
        (f'{CONTROL}[a]\nb = """\n{CONTROL}', None),
        (f'a = """\n{CONTROL}[x]\n"""\n[b\n', None),
        ('["contr\\u006fl"]\nsocket = "/run/ours.sock"\n[b\n', None),
        ('a = "\\t"\n[b\n', DEFAULT),
        (b"\xff\n" + CONTROL.encode(), OURS),
        (f"{CONTROL}\na = {'[' * 9999}", None),
    ],
)
def test_the_control_socket_is_found_or_the_error_says_how_to_name_it(
    path: Path, text: str | bytes, socket: Path | None
) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if socket is None:
        with pytest.raises(ConfigError, match="or name the socket: --socket"):
            control_socket(path, {})
    else:
        assert control_socket(path, {}) == socket


def test_a_variable_makes_the_file_needless(path: Path) -> None:
    named = {
        "ADSYNCD_CONTROL__SOCKET": "/run/mine.sock",
        "ADSYNCD_STORE__URL": "sqlite:////mine.db",
        "ADSYNCD_WACH": "x",
    }
    assert control_socket(path, named) == Path("/run/mine.sock")
    assert store_settings(path, named).store.url == "sqlite:////mine.db"
    path.write_text(CONTROL)
    assert control_socket(path, {"ADSYNCD_CONTROL": '{"socket": "/run/mine.sock"}'}) == Path("/run/mine.sock")


def test_only_problems_of_the_table_itself_are_told(path: Path) -> None:
    path.write_text('wach = true\n[control]\nsocket = "ours.sock"\nsockets = 1\n[vault]\n')
    with pytest.raises(ConfigError) as caught:
        control_socket(path, {"ADSYNCD_WACTH": "yes"})
    assert [(one.line, one.key) for one in caught.value.problems] == [(3, "control.socket"), (4, "control.sockets")]


def test_the_page_and_the_store_are_found_in_the_same_way(path: Path) -> None:
    path.write_text('wach\n[page]\nsocket = "/run/page.sock"\n[store]\nurl = "sqlite:////ours.db"\nkeep_runs = "1d"\n')
    assert page_socket(path, {}) == Path("/run/page.sock")
    assert store_settings(path, {}).store.url == "sqlite:////ours.db"
    path.write_text("wach = true\n")
    assert page_socket(path, {}) is None


def test_a_file_that_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"No such file or directory; create it, or name another .* or name the database"
    ):
        store_settings(path, {})
