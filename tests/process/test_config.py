"""The real `adsyncd config`, with a default, an override, a variable and a profile."""

import json
from pathlib import Path

from support.program import Program


async def test_each_value_in_force_is_shown_with_the_place_that_it_comes_from(tmp_path: Path) -> None:
    program = Program(tmp_path, {"ADSYNCD_DEFAULTS__SYNC__MAX_ATTEMPTS": "7"})
    program.settings("http://127.0.0.1:1", defaults={"sync": {"timeout": "90s", "page_size": 20}})
    program.tenant("acme", sync={"page_size": 50, "concurrency": 2})
    override = tmp_path / "tenants.d" / "acme.toml.d" / "10-size.toml"
    override.parent.mkdir()
    override.write_text("\nsync.page_size = 60\n")

    shown = await program.run("config", "acme")
    assert (shown.returncode, shown.stderr) == (0, b"")
    lines = [line.split() for line in shown.stdout.decode().splitlines()]
    found = {key: (value, place) for key, _, value, _, place in (line for line in lines if len(line) == 5)}
    settings, drop_in = program.config, tmp_path / "tenants.d" / "acme.toml"
    texts = [path.read_text().splitlines() for path in (settings, drop_in)]
    defaults, sync = (
        next(number for number, line in enumerate(text, 1) if line.startswith(key))
        for text, key in zip(texts, ("defaults", "sync"), strict=True)
    )
    assert found["sync.page_size"] == ("60", f"{override}:2")
    assert found["sync.concurrency"] == ("2", f"{drop_in}:{sync}")
    assert found["sync.timeout"] == ('"90s"', f"{settings}:{defaults}")
    assert found["sync.max_attempts"] == ("7", "ADSYNCD_DEFAULTS__SYNC__MAX_ATTEMPTS")
    assert found["sync.run_deadline"] == ('"30m"', "default")
    assert found["platforms.mixo.base_url"][0] == '"http://127.0.0.1:1"'

    own = {one["key"]: one for one in await program.ask("config")}
    assert own["control.socket"]["source"] == str(settings)
    assert own["defaults.sync.max_attempts"] == {
        "key": "defaults.sync.max_attempts",
        "value": 7,
        "source": "ADSYNCD_DEFAULTS__SYNC__MAX_ATTEMPTS",
        "line": None,
    }
    override.write_text("sync.page_sise = 60\n")
    refused = await program.run("config", "acme")
    assert refused.returncode == 1
    assert f"{override}:1: sync.page_sise: unknown key" in refused.stderr.decode()
    assert json.loads((await program.run("config", "acme", "--json")).stdout)["exit"] == 1
