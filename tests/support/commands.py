"""Commands of `adsyncd`, called in this process as the shell calls them, and what they say."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from adsyncd.cli import main

COLOUR = "\x1b["
_SETTINGS = """\
tenants_dirs = ["{folder}/tenants.d"]
store = {{ url = "sqlite:///{folder}/adsyncd.db" }}
[platforms.mixo]
base_url = "https://ads.example.com"
"""
_DROP_IN = """\
client_id = "{name}"
platform = "mixo"
credentials = {{ env = "ACME" }}
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str


Call = Callable[..., Said]


@dataclass(frozen=True, slots=True)
class Shell:
    """A bare environment, with the settings in `folder`."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def call(self, *arguments: str) -> Said:
        """Call `adsyncd` with arguments."""
        self.monkeypatch.setattr(sys, "argv", ["adsyncd", *arguments])
        with pytest.raises(SystemExit) as exited:
            main()
        code = exited.value.code
        assert isinstance(code, int)
        return Said(code, *self.capsys.readouterr())

    def environ(self, **variables: str) -> None:
        """Let commands find the settings and these variables, and no other."""
        self.monkeypatch.setattr(os, "environ", {"ADSYNCD_CONFIG": str(self.folder / "adsyncd.toml"), **variables})


def install(folder: Path) -> None:
    """Write settings with the platform `mixo`, and no drop-in."""
    (folder / "adsyncd.toml").write_text(_SETTINGS.format(folder=folder))
    (folder / "tenants.d").mkdir()


def add_tenant(folder: Path, name: str, more: str = "") -> Path:
    """Write a tenant's drop-in, of which `more` says more, and return its path."""
    path = folder / "tenants.d" / f"{name}.toml"
    path.write_text(_DROP_IN.format(name=name) + more)
    return path
