import json
from pathlib import Path

import pytest

from support.commands import Call, add_tenant


def test_a_tenant_is_shown_with_its_places(call: Call, folder: Path) -> None:
    said = call("config", "acme")
    assert (said.code, said.err) == (0, "")
    assert f"{folder}/tenants.d/acme.toml:1" in said.out.splitlines()[0]
    assert "# default" in said.out


def test_defaults_are_left_out_on_request(call: Call) -> None:
    keys = [one["key"] for one in json.loads(call("config", "acme", "--changed", "--json").out)]
    assert keys == ["client_id", "platform", "credentials.env", "platforms.mixo.base_url"]


def test_the_daemons_own_settings_are_shown_without_a_tenant(call: Call, folder: Path) -> None:
    found = {one["key"]: one for one in json.loads(call("config", "--json").out)}
    assert found["tenants_dirs"]["value"] == [f"{folder}/tenants.d"]
    assert found["store.url"]["line"] == 2
    assert found["watch"] == {"key": "watch", "value": False, "source": "default", "line": None}


def test_a_disabled_tenant_is_shown(call: Call, folder: Path) -> None:
    add_tenant(folder, "asleep", "enabled = false\n")
    assert "enabled = false" in call("config", "asleep").out


def test_a_refused_tenant_is_its_problems_and_the_daemon_may_know_a_good_version(call: Call, folder: Path) -> None:
    path = add_tenant(folder, "bad", "sync.page_sise = 5\n")
    said = call("config", "bad")
    assert (said.code, said.out) == (1, "")
    problem, hint = said.err.splitlines()
    assert problem == f'error: {path}:4: sync.page_sise: unknown key; did you mean "page_size"?'
    assert "last good version" in hint
    assert "adsyncd reload --dry-run" in hint
    as_json = call("config", "bad", "--json")
    [told] = json.loads(as_json.out)["problems"]
    assert (as_json.code, told["line"], told["key"]) == (1, 4, "sync.page_sise")


@pytest.mark.parametrize(("wanted", "near"), [("acne", "acme"), ("bat", "bad")])
def test_an_unknown_tenant_is_told_with_a_like_one(call: Call, folder: Path, wanted: str, near: str) -> None:
    add_tenant(folder, "bad", "sync.page_sise = 5\n")
    said = call("config", wanted)
    assert (said.code, said.err) == (1, f'error: there is no tenant "{wanted}"; did you mean "{near}"?\n')


def test_a_masked_tenant_is_told_with_its_mask(call: Call, folder: Path) -> None:
    mask = folder / "tenants.d" / "gone.toml"
    mask.symlink_to("/dev/null")
    said = call("config", "gone")
    assert said.code == 1
    assert said.err.startswith(f"error: {mask}: masks the tenant: it is a link to /dev/null; ")
    (folder / "tenants.d" / "blank.toml").touch()
    assert "blank.toml: masks the tenant: it is empty; " in call("config", "blank").err
