"""The ad platforms: governed requests, sign-in, and their API as typed calls."""

from adsyncd.platforms.client import Connector, PlatformClient
from adsyncd.platforms.session import Session

__all__ = ["Connector", "PlatformClient", "Session"]
