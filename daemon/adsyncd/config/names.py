"""Names that every command needs, without what reads settings."""

from pathlib import Path
from typing import Literal

CONFIG_VARIABLE = "ADSYNCD_CONFIG"
LOG_LEVEL_VARIABLE = "ADSYNCD_LOG_LEVEL"
PREFIX = "ADSYNCD_"  # of the variables that override settings

DEFAULT_PATH = Path("/etc/adsyncd/adsyncd.toml")
DEFAULT_TENANTS_DIR = Path("/etc/adsyncd/tenants.d")
DEFAULT_STORE_URL = "sqlite:////var/lib/adsyncd/adsyncd.db"
DEFAULT_SOCKET = Path("/run/adsyncd/control.sock")
LONGEST_SOCKET = 107  # bytes of a socket's path: Linux takes no more

Level = Literal["debug", "info", "warning", "error"]  # of the log
