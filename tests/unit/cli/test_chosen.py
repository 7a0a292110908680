"""Which of the tenants with records are selected."""

import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adsyncd.cli import chosen as module
from adsyncd.cli.chosen import chosen, refuse_unknown
from adsyncd.errors import AdsyncdError, ConfigError, NoDaemon
from adsyncd.model.selection import EVERYTHING, Selection, Show
from support.commands import add_tenant, install

STORED = ("acme", "gone-1", "shop-1", "shop-2")
FAILING = frozenset({Show.FAILING})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings with the drop-ins acme, shop-1, shop-2 and new, which has no records yet."""
    install(tmp_path)
    for name in ("acme", "shop-1", "shop-2", "new"):
        add_tenant(tmp_path, name)
    return tmp_path / "adsyncd.toml"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (EVERYTHING, None),
        (Selection(match="shop-*"), ["shop-1", "shop-2"]),
        (Selection(match="gone-?"), ["gone-1"]),
        (Selection(match="new"), []),
        (Selection(platform="mixo"), ["acme", "shop-1", "shop-2"]),
        (Selection(platform="mixo", match="*-1"), ["shop-1"]),
    ],
)
async def test_without_kinds_files_and_records_say_which(
    config: Path, selection: Selection, expected: list[str] | None
) -> None:
    assert await chosen(selection, config, STORED) == expected


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (Selection(match="shp-*"), 'no tenant has an id that matches "shp-*"'),
        (Selection(platform="maxo"), 'no tenant has the platform "maxo"'),
        (Selection(platform="mixo", match="gone-*"), 'the platform "mixo" and an id that matches "gone-*"'),
    ],
)
async def test_a_selection_that_no_tenant_can_satisfy_is_a_mistake(
    config: Path, selection: Selection, words: str
) -> None:
    with pytest.raises(AdsyncdError, match=re.escape(words)):
        await chosen(selection, config, STORED)


@pytest.mark.parametrize(
    ("selection", "answers", "expected"),
    [
        (Selection(FAILING), [["acme", "new"]], ["acme", "new"]),
        (Selection(FAILING), [[]], []),
        (Selection(FAILING, match="shop-*"), [[], ["shop-1"]], []),
        (Selection(FAILING, match="shp-*"), [[], []], None),
    ],
)
async def test_the_daemon_says_of_what_kinds_they_are(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    selection: Selection,
    answers: list[list[str]],
    expected: list[str] | None,
) -> None:
    asked = list[Selection]()

    @asynccontextmanager
    async def reaching(socket: Path) -> Any:  # noqa: ANN401 - a client
        yield socket

    async def names(_daemon: object, of: Selection) -> list[str]:
        asked.append(of)
        return answers[len(asked) - 1]

    monkeypatch.setattr(module, "reaching", reaching)
    monkeypatch.setattr(module, "names", names)
    monkeypatch.setattr("adsyncd.cli.selection.names", names)
    if expected is None:
        with pytest.raises(AdsyncdError, match="no tenant has an id"):
            await chosen(selection, config, STORED)
    else:
        assert await chosen(selection, config, STORED) == expected
    assert asked == [selection, Selection(match=selection.match)][: len(answers)]


async def test_without_a_daemon_kinds_are_unknown(config: Path) -> None:
    socket = config.parent / "elsewhere.sock"
    with pytest.raises(NoDaemon, match=str(socket)):
        await chosen(Selection(FAILING), config, STORED, socket)


def test_a_tenant_without_records_has_a_drop_in_or_is_a_mistake(config: Path) -> None:
    refuse_unknown("new", config)
    with pytest.raises(ConfigError, match='there is no tenant "nwe"; did you mean "new"'):
        refuse_unknown("nwe", config)
