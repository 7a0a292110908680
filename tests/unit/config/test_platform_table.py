import pytest
from pydantic import ValidationError

from adsyncd.config.diagnostics import Diagnostic, diagnose
from adsyncd.config.platform_table import PlatformTable
from adsyncd.config.profile_file import shipped_profile


def test_a_platform_is_that_of_the_built_in_api_unless_it_names_a_profile() -> None:
    platform = PlatformTable.model_validate({"base_url": "https://ads.example.com/"}).platform("mixo")
    assert (platform.base_url, platform.profile) == ("https://ads.example.com", shipped_profile("adsyncd"))
    meta = PlatformTable.model_validate({"profile": "meta"}).platform("meta")
    assert (meta.base_url, meta.profile) == ("https://graph.facebook.com", shipped_profile("meta"))


def test_the_built_in_api_has_no_address_so_that_one_has_to_be_named() -> None:
    with pytest.raises(ValidationError) as caught:
        PlatformTable.model_validate({})
    missing = Diagnostic(("base_url",), "is missing", 'add base_url = "https://ads.example.com"')
    assert diagnose(caught.value, PlatformTable) == [missing]
