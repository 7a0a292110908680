"""Drop-ins in two directories, of which a test says what is in them."""

from pathlib import Path

from adsyncd.config import Settings
from adsyncd.config.dropins import Tenants, read_tenants
from adsyncd.errors import Problem

ACME = """\
client_id = "acme"
platform = "mixo"
credentials = { env = "ACME" }
"""


class Folders:
    """Two directories of drop-ins, `low` and `high`, of which `high` wins."""

    def __init__(self, root: Path) -> None:
        self.low, self.high = root / "low", root / "high"
        self.low.mkdir()
        self.high.mkdir()

    def write(self, name: str, text: str) -> Path:
        """Write a file, named by its directory and its path in it."""
        path = self.low.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def settings(self, **settings: object) -> Settings:
        keys: dict[str, object] = {
            "tenants_dirs": [str(self.low), str(self.high)],
            "platforms": {"mixo": {"base_url": "https://ads"}},
        }
        return Settings.model_validate(keys | settings)

    def read(self, **settings: object) -> Tenants:
        return read_tenants(self.settings(**settings))

    def problem(self, tenant_id: str = "acme", **settings: object) -> Problem:
        """Return the one problem that there is."""
        tenants = self.read(**settings)
        assert list(tenants.bad) == [tenant_id]
        [problem] = tenants.problems
        return problem
