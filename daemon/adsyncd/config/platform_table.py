"""A platform in the settings: its profile, its addresses, and its quota for all tenants together."""

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from adsyncd.config.field_types import CaFile, ConfigTable, ProfileRef, Url
from adsyncd.config.profile_file import BUILT_IN, SHIPPED, find_profile, load_profile, shipped_profile
from adsyncd.config.secret_table import Proxy
from adsyncd.config.tenant_file import QuotaTable
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.tenant import Platform


class PlatformTable(ConfigTable):
    """An ad platform, and its quota for all its tenants together."""

    profile: ProfileRef = Field(BUILT_IN, examples=["meta"])
    base_url: Url | None = Field(None, validate_default=True, examples=["https://ads.example.com"])
    sign_in_url: Url | None = Field(None, examples=["https://oauth2.example.com/token"])
    quota: QuotaTable | None = Field(None, examples=[{"requests": 1000, "per": "60s"}])
    proxy: Proxy | None = Field(None, examples=["http://proxy.internal:3128"])
    ca_file: CaFile | None = Field(None, examples=["/etc/ssl/private-ca.pem"])

    @field_validator("base_url")
    @classmethod
    def _known(cls, base_url: str | None, info: ValidationInfo) -> str | None:
        """Require an address unless the profile has one, or is a file, which is read later."""
        profile = find_profile(info.data.get("profile", "/"))
        if base_url is None and profile.parent == SHIPPED and shipped_profile(profile.stem).base_url is None:
            raise PydanticKnownError("missing")
        return base_url

    def platform(self, name: str) -> Platform:
        """Return the domain value, with its profile as the file is now. Raises ConfigError."""
        file = find_profile(self.profile)
        profile = shipped_profile(file.stem) if file.parent == SHIPPED else load_profile(file)
        base_url = self.base_url or profile.base_url
        if base_url is None:
            what = "is missing, and the profile has none"
            raise ConfigError([Problem(None, None, f"platforms.{name}.base_url", what, 'add base_url = "https://..."')])
        return Platform(
            name,
            base_url,
            profile,
            self.quota.quota() if self.quota else None,
            self.sign_in_url,
            self.proxy.proxy() if self.proxy else None,
            self.ca_file.pem if self.ca_file else None,
        )
