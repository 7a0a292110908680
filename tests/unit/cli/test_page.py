from collections.abc import Mapping

import pytest

from adsyncd.cli.page import has_display, no_use, users


@pytest.mark.parametrize(
    ("uid", "environ", "who"),
    [
        (1000, {}, {1000}),
        (990, {"SUDO_UID": "1001"}, {990, 1001}),  # sudo -u adsyncd
        (0, {}, {0}),
        (0, {"SUDO_UID": "1001"}, {0, 1001}),
        (0, {"SUDO_UID": "-1"}, {0}),
        (0, {"SUDO_UID": ""}, {0}),
    ],
)
def test_the_page_is_for_its_user_and_for_the_one_who_called_sudo(
    uid: int, environ: Mapping[str, str], who: set[int]
) -> None:
    assert users(uid, environ) == who


@pytest.mark.parametrize(
    ("environ", "uid", "shows"),
    [
        ({"DISPLAY": ":0"}, 1000, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, 1000, True),
        ({}, 1000, False),
        ({"DISPLAY": ""}, 1000, False),
        ({"DISPLAY": ":0"}, 0, False),
        ({"DISPLAY": ":0", "SUDO_UID": "1000"}, 990, False),
    ],
)
def test_a_browser_needs_a_display_and_another_user_than_root(
    environ: Mapping[str, str], uid: int, shows: bool
) -> None:
    assert has_display(environ, uid) is shows


def test_an_address_here_is_of_use_at_a_terminal_of_this_machine() -> None:
    assert not no_use({}, is_terminal=True)
    assert "not a terminal" in no_use({}, is_terminal=False)
    assert "SSH session" in no_use({"SSH_CONNECTION": "192.0.2.1 5 192.0.2.2 22"}, is_terminal=True)
