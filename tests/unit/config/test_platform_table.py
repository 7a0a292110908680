from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from adsyncd.config import load_settings
from adsyncd.config.diagnostics import Diagnostic, diagnose
from adsyncd.config.platform_table import PlatformTable
from adsyncd.config.profile_file import shipped_names, shipped_profile
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.profile import Profile
from adsyncd.model.tenant import Platform

META, BUILT_IN = shipped_profile("meta"), shipped_profile()


def table(**keys: object) -> PlatformTable:
    return PlatformTable.model_validate(keys)


def wrong(**keys: object) -> Diagnostic:
    with pytest.raises(ValidationError) as caught:
        table(**keys)
    [found] = diagnose(caught.value, PlatformTable)
    return found


def misfits(profile: Profile, **keys: object) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        table(profile="/etc/own.toml", **keys).platform("own", profile)
    return caught.value.problems


def problem(tmp_path: Path, text: str, **environ: str) -> Problem:
    (tmp_path / "adsyncd.toml").write_text(f"\n[platforms.mixo]\n{text}")
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "adsyncd.toml", environ)
    [found] = caught.value.problems
    return found


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("ads.example.com", "expected an address that begins with https:// or http://"),
        ("ftp://ads.example.com", "expected an address that begins with https:// or http://"),
        ("https://ads.example.com?x=1", "must not have a query: adsyncd appends paths"),
        ("https://ads.example.com/#x", "must not have a fragment"),
        ("https://u:canary@ads.example.com", "must not hold a user or a password"),
        ("https://ads.example.com:99999", "has a port that is not one of 1 to 65535"),
        ("https://ads.example.com:0", "has a port that is not one of 1 to 65535"),
        ("https://ads.example.com:https", "has a port that is not one of 1 to 65535"),
        ("https://[::1", "has no valid host"),
        ("https://[::1]x", "has no valid host"),
        ("https://[::1]]", "has no valid host"),
        ("https://[v1.a]", "has no valid host"),
        ("https://[::1%]", "has no valid host"),
        ("https://::1", "has no valid host"),
        ("https://2001:db8::1/api", "has no valid host"),
        ("https://256.1.1.1", "has no valid host"),
        ("https://ads..example.com", "has no valid host"),
        ("https://-ads.example.com", "has no valid host"),
        ("https://ads%41.example.com", "has no valid host"),
        ("https://ads example.com", "has a space or another character that no address has"),
        ("https:///api", "has no host"),
    ],
)
def test_what_is_wrong_with_an_address_is_named_and_the_address_is_not_repeated(address: str, what: str) -> None:
    found = wrong(base_url=address)
    assert (found.key, found.what) == (("base_url",), what)
    assert found.fix
    assert "canary" not in f"{found.what}{found.fix}"


def test_a_platform_is_that_of_the_built_in_api_unless_it_names_a_profile() -> None:
    assert table(base_url="https://ads.example.com/").profile == "adsyncd"
    assert table(base_url="https://ads").platform("mixo", BUILT_IN) == Platform("mixo", "https://ads", BUILT_IN)
    assert table(profile="meta").platform("meta", META) == Platform("meta", "https://graph.facebook.com", META)
    assert table(profile="meta", base_url="https://eu").platform("meta", META).base_url == "https://eu"
    assert (
        table(base_url="https://a", sign_in_url="https://b/x").platform("mixo", BUILT_IN).sign_in_url == "https://b/x"
    )


def test_the_built_in_api_has_no_address_so_that_one_has_to_be_named(tmp_path: Path) -> None:
    assert wrong() == Diagnostic(("base_url",), "is missing", 'add base_url = "https://ads.example.com"')
    found = problem(tmp_path, "")
    assert (found.path, found.line, found.key) == (tmp_path / "adsyncd.toml", 2, "platforms.mixo.base_url")
    own = Problem(
        Path("/etc/own.toml"),
        None,
        "base_url",
        "is missing",
        'add base_url = "https://..." here, or to [platforms.own] in the settings',
    )
    assert misfits(BUILT_IN) == [own]


@pytest.mark.parametrize(
    ("name", "near"), [("metta", 'did you mean "meta"? '), ("googleads", 'did you mean "google-ads"? '), ("qqq", "")]
)
def test_an_unknown_profile_names_the_nearest_and_those_that_there_are(tmp_path: Path, name: str, near: str) -> None:
    found = problem(tmp_path, f'base_url = "https://ads"\nprofile = "{name}"')
    assert (found.line, found.key, found.what) == (4, "platforms.mixo.profile", f'unknown profile "{name}"')
    known = f"adsyncd has {', '.join(shipped_names())}; your own is named by its absolute path"
    assert found.fix == near + known


@pytest.mark.parametrize("profile", ["own.toml", "../own.toml", "Meta", "", "/\0", 3, "meta/"])
def test_a_profile_is_a_name_or_an_absolute_path(profile: object) -> None:
    assert wrong(profile=profile, base_url="https://ads").key == ("profile",)


def test_a_token_that_is_a_secret_itself_needs_no_address_to_sign_in_at() -> None:
    assert wrong(profile="meta", sign_in_url="https://a") == Diagnostic(
        ("sign_in_url",), "must not be set: the profile has a static token, and no sign-in", "remove it"
    )
    [found] = misfits(META, sign_in_url="https://a")
    assert (found.path, found.key) == (Path("/etc/own.toml"), "platforms.own.sign_in_url")


def test_a_quota_that_no_request_fits_into_is_refused() -> None:
    costly = replace(META, listing=replace(META.listing, cost=3))
    what = "is too small: a request of [list] costs 3 permits in the profile meta"
    [found] = misfits(costly, quota={"requests": 9, "per": "1m", "also": [{"requests": 2, "per": "1s"}]})
    assert (found.key, found.what, found.fix) == (
        "platforms.own.quota",
        what,
        "allow at least 3 requests in each window",
    )
    assert table(profile="/x", quota={"requests": 3, "per": "1m"}).platform("own", costly).quota


PRESETS = {
    '"standard"': "remove it: the common forms are read from every platform",
    '"meta"': 'for the API itself write profile = "meta"; for another API, copy its profile',
    '{ preset = "tiktok" }': 'for the API itself write profile = "tiktok"; for another API, copy its profile',
    '"google-ads"': 'for the API itself write profile = "google-ads"; for another API, copy its profile',
    '"x-ads"': "write its keys into [limits] of your own profile",
    '{ preset = "meta", wait_headers = ["X"] }': "write its keys into [limits] of your own profile",
    '{ throttling = [{ status = 420, path = "Canary-1" }] }': "write its keys into [limits] of your own profile",
    "3": "write its keys into [limits] of your own profile",
}


@pytest.mark.parametrize(("value", "fix"), PRESETS.items())
def test_the_key_feedback_says_where_it_has_moved(tmp_path: Path, value: str, fix: str) -> None:
    found = problem(tmp_path, f'base_url = "https://ads"\nfeedback = {value}')
    assert (found.line, found.key) == (4, "platforms.mixo.feedback")
    assert found.what == "moved: how a platform states its limits is part of its profile, see docs/profiles.md#limits"
    assert found.fix.startswith(fix)
    assert "Canary" not in str(found)


def test_so_does_its_table_and_its_variable(tmp_path: Path) -> None:
    found = problem(tmp_path, 'base_url = "https://ads"\n\n[platforms.mixo.feedback]\npreset = "meta"')
    assert (found.line, found.key) == (5, "platforms.mixo.feedback")
    found = problem(tmp_path, 'base_url = "https://ads"', ADSYNCD_PLATFORMS__MIXO__FEEDBACK="meta")
    assert (found.path, found.key) == (None, "ADSYNCD_PLATFORMS__MIXO__FEEDBACK")
    assert found.what.startswith("moved: ")
    found = problem(tmp_path, 'base_url = "https://ads"', ADSYNCD_PLATFORMS__MIXO__FEEDBACK__PRESET="meta")
    assert (found.key, found.what[:7]) == ("ADSYNCD_PLATFORMS__MIXO__FEEDBACK__PRESET", "moved: ")


def test_a_key_that_has_moved_is_not_among_the_known_ones() -> None:
    found = wrong(base_url="https://ads", qqq=1)
    assert found.fix == "known keys are base_url, ca_file, profile, proxy, quota, sign_in_url"
