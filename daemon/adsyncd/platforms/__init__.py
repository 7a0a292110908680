"""The ad platforms: governed requests, sign-in, and their API as typed calls."""

from adsyncd.platforms.client import PlatformClient
from adsyncd.platforms.connector import Connector
from adsyncd.platforms.session import Session

__all__ = ["Connector", "PlatformClient", "Session"]
