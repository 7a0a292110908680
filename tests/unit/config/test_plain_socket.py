from collections.abc import Mapping
from pathlib import Path

import pytest

from adsyncd.config import control_socket
from adsyncd.config.plain_socket import plain_socket

LONG = f"/{'x' * 106}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "watch = true",
        "[control]",
        '[control]\nsocket = "/run/other.sock"',
        '[control]\nsocket = "//run/./other/"\ngroup = "adsyncd"',
        f'[control]\nsocket = "{LONG}"',
        'control = {socket = "/a"}\nwatchh = 1',
        'watch = "often"\n[control]\nsocket = "/a"\n[vault]\naddres = 3',
    ],
)
def test_a_plain_socket_is_the_one_that_settings_have(tmp_path: Path, text: str) -> None:
    path = tmp_path / "adsyncd.toml"
    path.write_text(text)
    assert plain_socket(path, {}) == control_socket(path, {})


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("", {"ADSYNCD_CONTROL__SOCKET": "/b"}),
        ("", {"ADSYNCD_CONTROL": '{"socket": "/b"}'}),
        ("", {"ADSYNCD_CONTROL_SOCKET": "/b"}),
        ("[control", {}),
        ("control = 3", {}),
        ('[control]\nsockett = "/a"', {}),
        ('[control]\nsocket = "relative"', {}),
        ("[control]\nsocket = 3", {}),
        (f'[control]\nsocket = "{LONG}x"', {}),
        ('[control]\nsocket = "/a\\nb"', {}),
        ("[control]\ngroup = 3", {}),
        ('[control]\ngroup = ""', {}),
    ],
)
def test_what_is_odd_is_left_to_those_who_validate(tmp_path: Path, text: str, environ: Mapping[str, str]) -> None:
    path = tmp_path / "adsyncd.toml"
    path.write_text(text)
    assert plain_socket(path, environ) is None


def test_settings_that_do_not_exist_have_no_plain_socket(tmp_path: Path) -> None:
    assert plain_socket(tmp_path / "none.toml", {}) is None
