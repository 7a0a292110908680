from dataclasses import replace
from datetime import timedelta

from adsyncd.model.profile import StaticToken, TokenRequest, stated
from adsyncd.model.tenant import Platform, VaultRef
from support.tenants import a_tenant


def test_the_hash_of_an_account_stays_between_versions() -> None:
    """Runs of earlier versions have it on record: with another one, all their tenants would have no last run."""
    tenant = a_tenant(vars=(("region", "eu"),), credentials=VaultRef("acme", "reader"))
    request = TokenRequest("POST", "/token", form=(("a", "b"),), life=timedelta(hours=1))
    profile = replace(tenant.platform.profile, sign_in=request, headers=(("x-a", "{account}"),))
    platform = Platform("mixo", "http://ads.invalid", profile, sign_in_url="http://sign-in.invalid")
    assert replace(tenant, platform=platform).account_hash == "b94884c81fbeb03f"
    static = replace(profile, sign_in=StaticToken("key"))
    assert replace(tenant, platform=replace(platform, profile=static)).account_hash == "7e45fa30a5e5c979"


def test_a_field_with_its_default_is_left_out_as_a_later_version_may_add_it() -> None:
    assert stated(VaultRef("acme")) == ("VaultRef", ("path", "acme"))
    assert stated(VaultRef("acme", "reader")) == ("VaultRef", ("path", "acme"), ("role", "reader"))
    assert stated("text") == "text"
