"""What a reload changed, or would change, in lines."""

from pathlib import Path

from adsyncd.cli.reload_view import preview_lines, reload_lines
from adsyncd.errors import Problem
from adsyncd.model.status import RefusedFile, Reloaded, ReloadPreview
from support.records import NOON

WRONG = RefusedFile("hooli", (Problem(Path("/t/hooli.toml"), 3, "quota", "is missing", ""),), goes_on=True)
EMPTY = Problem(Path("/t/acme.toml"), None, None, "is empty", "write it")


def test_a_reload_is_told_with_names() -> None:
    many = tuple(f"t{number:02}" for number in range(25))
    reloaded = Reloaded(many, ("acme",), (), ("globex",), (WRONG,), 25, 0.25, (), (EMPTY,), ("store",))
    assert list(reload_lines(reloaded, NOON)) == [
        "/t/hooli.toml:3: quota: is missing",
        "warning: /t/acme.toml: is empty; write it",
        "needs a restart: store",
        f"added: {', '.join(many[:20])} and 5 more",
        "removed: acme",
        "1 unchanged, 1 refused, in 0.2 s",
    ]


def test_a_preview_names_the_keys_that_differ() -> None:
    changed = {f"t{number:02}": ["quota", "sync.page_size"] for number in range(21)}
    lines = list(preview_lines(ReloadPreview(("new",), ("old",), changed, 7, (), (), ())))
    assert lines[:2] == ["would add: new", "would change: t00 (quota, sync.page_size)"]
    assert lines[-3:] == ["would change: 1 more", "would remove: old", "7 unchanged, 0 refused; nothing was applied"]
