"""The second platform, which the mock platform serves beside its own API: a tenant can only pull from it."""

from typing import Any
from urllib.parse import urlsplit

from mock_api.description import ORBIT, orbit
from support.program import Program

_SECRETS = ("client_id", "client_secret", "refresh_token", "app_key")


def secrets_of(client_id: str) -> dict[str, str]:
    """Return what a client id's account signs in with, by name."""
    return {name: f"{name}-of-{client_id}" for name in _SECRETS}


def orbit_accounts(*client_ids: str) -> dict[str, Any]:
    """Return one account for each client id."""
    return {f"{id_}@orbit.example": {"clients": [id_], "secrets": secrets_of(id_)} for id_ in client_ids}


def orbit_settings(*client_ids: str) -> dict[str, Any]:
    """Return settings of the mock platform with which it serves the second API to these client ids."""
    return {"apis": {"orbit": orbit()}, "accounts": orbit_accounts(*client_ids)}


def orbit_table(program: Program, base_url: str) -> dict[str, str]:
    """Return the table of the platform for the settings of a program. It is signed in to at another host.

    `base_url`: the mock platform's.
    """
    profile = program.folder / "orbit.toml"
    profile.write_bytes(ORBIT.read_bytes())
    profile.chmod(0o600)
    elsewhere = f"http://localhost:{urlsplit(base_url).port}/orbit/oauth/token"
    return {"profile": str(profile), "base_url": f"{base_url}/orbit", "sign_in_url": elsewhere}


def orbit_environ(name: str, client_id: str) -> dict[str, str]:
    """Return the variables in which `{ env = "NAME" }` finds an account's secrets."""
    return {f"{name}_{key.upper()}": value for key, value in secrets_of(client_id).items()}
