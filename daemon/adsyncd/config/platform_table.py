"""A platform in the settings: its profile, its addresses, and its quota for all tenants together."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from adsyncd.config.diagnostics import wrong
from adsyncd.config.field_types import CaFile, ConfigTable, ProfileRef, Url
from adsyncd.config.profile_file import BUILT_IN, find_profile, shipped_names, shipped_profile
from adsyncd.config.secret_table import Proxy
from adsyncd.config.tenant_file import QuotaTable, most_costly
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.profile import Profile, StaticToken
from adsyncd.model.tenant import Platform

_NO_SIGN_IN = "must not be set: the profile has a static token, and no sign-in"


def _known(value: str) -> str:
    if "/" in value or value in shipped_names():
        return value
    near = get_close_matches(value, shipped_names(), 1)
    known = f"adsyncd has {', '.join(shipped_names())}; your own is named by its absolute path"
    raise wrong(f'unknown profile "{value}"', f'did you mean "{near[0]}"? {known}' if near else known, echo=False)


def _moved(value: object) -> None:
    """Say where the key `feedback` of earlier versions is now."""
    if isinstance(value, dict) and value.keys() == {"preset"}:
        value = value["preset"]
    match value:
        case "standard":
            fix = "remove it: the common forms are read from every platform"
        case "google-ads" | "meta" | "tiktok":
            copy = "for another API, copy its profile and add to it what docs/feedback.md shows"
            fix = f'for the API itself write profile = "{value}"; {copy}'
        case _:
            fix = (
                'write its keys into [limits] of your own profile, and throttling into [[answers]]: means = "throttled"'
            )
    what = "moved: how a platform states its limits is part of its profile, see docs/profiles.md#limits"
    raise wrong(what, fix, echo=False)


class PlatformTable(ConfigTable):
    """An ad platform, and its quota for all its tenants together."""

    profile: Annotated[ProfileRef, AfterValidator(_known)] = Field(BUILT_IN, examples=["meta"])
    base_url: Url | None = Field(None, validate_default=True, examples=["https://ads.example.com"])
    sign_in_url: Url | None = Field(None, examples=["https://oauth2.example.com/token"])
    quota: QuotaTable | None = Field(None, examples=[{"requests": 1000, "per": "60s"}])
    proxy: Proxy | None = Field(None, examples=["http://proxy.internal:3128"])
    ca_file: CaFile | None = Field(None, examples=["/etc/ssl/private-ca.pem"])
    feedback: Annotated[None, BeforeValidator(_moved)] = Field(None, exclude=True)

    @field_validator("base_url", "sign_in_url", "quota")
    @classmethod
    def _fits(cls, value: object, info: ValidationInfo) -> object:
        """Compare a key with the profile if that is shipped. One in a file is compared when the file is read."""
        named = info.data.get("profile", "/")
        if "/" in named:
            return value
        profile = shipped_profile(named)
        if info.field_name == "base_url" and (value or profile.base_url) is None:
            raise PydanticKnownError("missing")
        if info.field_name == "sign_in_url" and value and isinstance(profile.sign_in, StaticToken):
            raise wrong(_NO_SIGN_IN, "remove it", echo=False)
        if isinstance(value, QuotaTable) and (too_small := most_costly(value, profile)):
            raise wrong(*too_small, echo=False)
        return value

    def platform(self, name: str, profile: Profile) -> Platform:
        """Return the domain value. Raises ConfigError if the profile does not fit."""
        if found := list(self._misfits(name, profile)):
            raise ConfigError(found)
        return Platform(
            name,
            str(self.base_url or profile.base_url),
            profile,
            self.quota.quota() if self.quota else None,
            self.sign_in_url,
            self.proxy.proxy() if self.proxy else None,
            self.ca_file.pem if self.ca_file else None,
        )

    def _misfits(self, name: str, profile: Profile) -> Iterator[Problem]:
        file = find_profile(self.profile)
        if self.base_url is None and profile.base_url is None:
            fix = f'add base_url = "https://..." here, or to [platforms.{name}] in the settings'
            yield Problem(file, None, "base_url", "is missing", fix)
        if self.sign_in_url and isinstance(profile.sign_in, StaticToken):
            yield Problem(file, None, f"platforms.{name}.sign_in_url", _NO_SIGN_IN, "remove it from the settings")
        if self.quota and (too_small := most_costly(self.quota, profile)):
            yield Problem(file, None, f"platforms.{name}.quota", *too_small)
