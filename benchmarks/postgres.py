"""A private PostgreSQL server, started as for the tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # as pytest's `pythonpath` does

from support.postgres import running_postgres as running_postgres  # noqa: PLC0414 - another's
