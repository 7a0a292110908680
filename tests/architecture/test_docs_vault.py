import re
import tomllib
from pathlib import Path

from adsyncd.config import Settings, TenantFile
from adsyncd.credentials.vault_errors import OUTAGES
from adsyncd.model.status import VaultState

PAGE = (Path(__file__).parents[2] / "docs" / "vault.md").read_text(encoding="utf-8")


def states(intro: str) -> set[str]:
    """The states in the table below the line that begins with `intro`."""
    table = re.search(rf"^{intro}.*\n\n\| state \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table
    return set(re.findall(r"^\| `([^`]+)` \|", table[1], re.MULTILINE))


def test_each_state_is_documented_where_it_belongs() -> None:
    nobody, signing_in, tenant = (states(intro) for intro in ("Vault is unavailable", "The daemon can't", "One tenant"))
    assert nobody == OUTAGES
    assert nobody | signing_in | tenant | {"up", "not asked yet"} == set(VaultState)


def test_the_examples_are_valid() -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 4
    vault = {"address": "https://vault.internal:8200"}
    for example in examples:
        table = tomllib.loads(example)
        if "vault" in table:
            Settings.model_validate(table)
        elif "method" in table.get("auth", {}):
            Settings.model_validate({"vault": vault | table})
        else:
            TenantFile.model_validate({"client_id": "acme", "platform": "mixo"} | table)
