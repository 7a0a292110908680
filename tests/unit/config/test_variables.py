import pytest

from adsyncd.config import Settings
from adsyncd.config.diagnostics import known_keys
from adsyncd.config.variables import Overlay, overlay


def laid(data: dict[str, object], **environ: str) -> Overlay:
    return overlay(data, environ, known_keys(Settings))


def test_a_variable_takes_the_place_of_the_key_in_the_file_and_leaves_those_beside_it() -> None:
    data: dict[str, object] = {"vault": {"mount": "secret", "timeout": "1s"}, "shutdown_grace": "20s"}
    result = laid(data, ADSYNCD_VAULT__TIMEOUT="5s", ADSYNCD_SHUTDOWN_GRACE="1s")
    assert result.data == {"vault": {"mount": "secret", "timeout": "5s"}, "shutdown_grace": "1s"}
    assert result.problems == []


def test_a_variable_makes_the_tables_around_its_key() -> None:
    result = laid({"store": 5}, ADSYNCD_STORE__URL="x", ADSYNCD_PLATFORMS__MIXO__QUOTA__PER="1s")
    assert result.data == {"store": {"url": "x"}, "platforms": {"mixo": {"quota": {"per": "1s"}}}}


def test_lists_and_tables_are_json_and_keys_of_a_table_come_after_it() -> None:
    result = laid(
        {},
        ADSYNCD_TENANTS_DIRS='["/a", "/b"]',
        ADSYNCD_DEFAULTS__QUOTA__PER="2s",
        ADSYNCD_DEFAULTS__QUOTA='{"requests": 5, "per": "1s"}',
    )
    assert result.data == {"tenants_dirs": ["/a", "/b"], "defaults": {"quota": {"requests": 5, "per": "2s"}}}


def test_a_name_with_a_hyphen_in_the_file_is_reached_by_an_underscore() -> None:
    result = laid({"platforms": {"mixo-eu": {"base_url": "x"}}}, ADSYNCD_PLATFORMS__MIXO_EU__BASE_URL="y")
    assert result.data == {"platforms": {"mixo-eu": {"base_url": "y"}}}


def test_the_variable_behind_a_key_is_known_for_the_key_what_is_in_it_and_what_is_around_it() -> None:
    result = laid({"store": {}}, ADSYNCD_DEFAULTS__QUOTA="{}", ADSYNCD_DEFAULTS__QUOTA__PER="1s")
    assert result.variable(("defaults", "quota", "per")) == "ADSYNCD_DEFAULTS__QUOTA__PER"
    assert result.variable(("defaults", "quota", "requests")) == "ADSYNCD_DEFAULTS__QUOTA"
    assert result.variable(("defaults",)) == "ADSYNCD_DEFAULTS__QUOTA"
    assert result.variable(("store", "url")) is None


@pytest.mark.parametrize(
    "name",
    ["ADSYNCD_CONFIG", "ADSYNCD_SERVICE_HOST", "ADSYNCD_PORT_8080_TCP", "ADSYNCD_ACME_PASSWORD", "STORE__URL", "HOME"],
)
def test_a_variable_that_is_no_setting_is_somebody_elses(name: str) -> None:
    result = laid({}, **{name: "x"})
    assert (result.data, result.problems) == ({}, [])


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("ADSYNCD_STORE_URL", "did you mean ADSYNCD_STORE__URL?"),
        ("ADSYNCD_SHUTDOWN_GRCE", "did you mean ADSYNCD_SHUTDOWN_GRACE?"),
        ("ADSYNCD_DEFAULTS_SYNC_PAGE_SIZE", "did you mean ADSYNCD_DEFAULTS__SYNC__PAGE_SIZE?"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_is_a_mistake(name: str, fix: str) -> None:
    [problem] = laid({}, **{name: "x"}).problems
    assert (problem.path, problem.key, problem.fix) == (None, name, fix)


def test_a_list_that_is_no_json_is_a_problem_of_its_variable() -> None:
    [problem] = laid({}, ADSYNCD_TENANTS_DIRS='["/a"').problems
    assert (problem.key, problem.what) == ("ADSYNCD_TENANTS_DIRS", "is not JSON")
