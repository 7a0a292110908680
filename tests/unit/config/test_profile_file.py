import pytest

from adsyncd.config.profile_file import shipped_names, shipped_profile


@pytest.mark.parametrize("name", shipped_names())
def test_each_profile_that_adsyncd_has_is_valid(name: str) -> None:
    assert shipped_profile(name).name == name
