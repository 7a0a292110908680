"""The worked example of docs/profiles.md, followed: its files, its commands, and what they print."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from support import page
from support.pennant import APP, TOKEN, Pennant, running_pennant

PAGE = page.read("profiles.md")
ANSWER = page.blocks(PAGE, "json")[0]
CHANGING = {  # what each execution prints anew
    r"traceparent: \S+": "traceparent: ...",
    r"[0-9a-f]{32}": "...",
    r"\d+\.\d\d s\b": "...",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d+s": "...",
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who follows the page, in a folder that stands for /etc/adsyncd."""

    folder: Path
    pennant: Pennant

    def put(self, text: str) -> None:
        """Write a file whose name is the block's first line."""
        name = text.splitlines()[0].removeprefix("# /etc/adsyncd/")
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(self.at_home(text))

    async def paste(self, step: str) -> subprocess.CompletedProcess[bytes]:
        """Execute a step's commands in a shell that has executed the page's exports."""
        exports = [block for block in page.blocks(PAGE, "sh") if block.startswith("export ")]
        [command] = [block for block in page.blocks(page.section(PAGE, step), "sh") if block not in exports]
        script = self.at_home("".join([*exports, command]))
        environ = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "TZ": "Europe/Berlin",  # as on the page
            "ADSYNCD_CONFIG": f"{self.folder}/adsyncd.toml",
            "ADSYNCD_TENANTS_DIRS": json.dumps([f"{self.folder}/tenants.d"]),
            "ADSYNCD_STORE__URL": f"sqlite:///{self.folder}/adsyncd.db",
        }
        with anyio.fail_after(60):
            return await anyio.run_process(["bash", "-c", script], cwd=self.folder, env=environ, check=False)

    def at_home(self, text: str) -> str:
        for place, here in self._places.items():
            text = text.replace(place, here)
        return text

    def as_printed(self, done: subprocess.CompletedProcess[bytes]) -> str:
        """Return what a command printed, as the page would have it."""
        text = done.stdout.decode()
        for place, here in self._places.items():
            text = text.replace(here, place)
        text = text.replace(self.pennant.ads.removeprefix("http://"), "ads.pennant.example")
        return normal(text)

    @property
    def _places(self) -> dict[str, str]:
        return {
            "https://ads.pennant.example": self.pennant.ads,
            "https://login.pennant.example": self.pennant.login,
            "/etc/adsyncd": str(self.folder),
        }


def normal(text: str) -> str:
    """Return a text without what changes, with single spaces in tables and none at the ends of lines."""
    for pattern, instead in CHANGING.items():
        text = re.sub(pattern, instead, text)
    return "\n".join(re.sub(r"(?<=\S) +", " ", line.rstrip()) for line in text.strip().splitlines())


def printed(step: str) -> str:
    """Return what the page shows after a step's command."""
    return normal(page.blocks(page.section(PAGE, step), "text")[-1])


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    items = json.loads(ANSWER)["result"]["items"]
    async with running_pennant([*items, {**items[0], "key": "c-103", "title": "Autumn sale"}]) as pennant:
        reader = Reader(tmp_path, pennant)
        adsyncd = tmp_path / "bin" / "adsyncd"
        adsyncd.parent.mkdir()
        adsyncd.write_text(f'#!/bin/sh\nexec {sys.executable} -m adsyncd "$@"\n')
        adsyncd.chmod(0o755)
        (tmp_path / "page.json").write_text(ANSWER)
        for block in page.blocks(page.section(PAGE, "Write one for your platform"), "toml"):
            reader.put(block)
        yield reader


@pytest.mark.parametrize("step", ["2. Describe it", "3. A platform and a tenant", "4. Probe", "5. Sync"])
async def test_each_command_prints_what_the_page_shows(reader: Reader, step: str) -> None:
    done = await reader.paste(step)
    assert done.returncode == 0, done.stderr.decode()
    assert reader.as_printed(done) == printed(step)


async def test_the_campaigns_of_all_pages_are_stored_as_they_are(reader: Reader) -> None:
    assert (await reader.paste("5. Sync")).returncode == 0
    with closing(sqlite3.connect(reader.folder / "adsyncd.db")) as database:
        columns = "campaign_id, name, status, budget, currency, impressions, clicks, conversions, created_at"
        rows = database.execute(f"SELECT {columns} FROM campaigns ORDER BY campaign_id").fetchall()
    assert [row[:8] for row in rows] == [
        ("c-101", "Spring sale", "running", 25.0, "EUR", 1200, 31, None),
        ("c-102", "Summer sale", "stopped", 7.5, "EUR", 0, 0, None),
        ("c-103", "Autumn sale", "running", 25.0, "EUR", 1200, 31, None),
    ]
    assert rows[0][8].startswith("2025-11-30 12:40:00")
    assert reader.pennant.pages == ["limit=100", "after=bmV4dDoy&limit=100"]


async def test_a_refusal_for_a_limits_sake_under_the_status_200_is_waited_for(reader: Reader) -> None:
    reader.pennant.slow_downs = 1
    assert (await reader.paste("5. Sync")).returncode == 0
    assert len(reader.pennant.pages) == 2


async def test_a_probe_names_what_is_there_where_a_path_finds_nothing(reader: Reader) -> None:
    profile = reader.folder / "pennant.toml"
    profile.write_text(profile.read_text().replace('"money.currency"', '"money.unit"'))
    done = await reader.paste("4. Probe")
    assert done.returncode == 9
    assert "daily_micros" in done.stdout.decode()


async def test_no_secret_is_printed_or_stored(reader: Reader) -> None:
    steps = [await reader.paste(step) for step in ("4. Probe", "5. Sync")]
    assert [done.returncode for done in steps] == [0, 0]
    kept = b"".join(path.read_bytes() for path in reader.folder.glob("adsyncd.db*"))
    for secret in (APP["client_secret"], APP["refresh_token"], TOKEN):
        assert secret.encode() not in kept + b"".join(done.stdout + done.stderr for done in steps)
