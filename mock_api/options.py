"""The command line, as a patch of the settings document."""

import argparse
import json
import tomllib
from enum import StrEnum
from pathlib import Path

from pydantic import JsonValue

from mock_api.settings import Behaviour, MockSettings, RateLimitForm, merge_patch

READY = "mock_api listening on "  # the line on standard output that the address follows
_PLATFORM = "seed", "token_lifetime_s", "platform_quota_requests", "platform_quota_window_s"

_EPILOG = """
FILE (JSON if it is named *.json, else TOML) holds the same settings, also for single client ids, and accounts:

  seed = 7
  [everyone]
  push_latency_s = 0.1
  quotas = [{ requests = 200, window_s = 3600 }]
  [clients.sick]
  fault = "hang"
  [accounts."acme@example.com"]
  password = "..."
  clients = ["acme", "sick"]

The command line goes over the file. POST /_settings merges JSON of the same shape into both at run time (RFC 7396):
{"accounts": {EMAIL: {"generation": 1}}} revokes an account's tokens. GET /_ledger[?client_id=ID] shows what happened,
POST /_ledger/reset forgets it. A request that passes the meters is counted, also if a fault follows. What
somebody else asks for (--foreign-requests) counts on the quotas of the client id, and not on the platform's.

Each of `apis` is one more API, below /NAME, described as in a profile; it lists and takes no pushes. Accounts sign in
there with their `secrets`, by name. It shares client ids, quotas, faults and ledger with the platform's own API.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser: an option for each setting that is a single value, with the setting's own description."""
    result = argparse.ArgumentParser(
        prog="python -m mock_api",
        description="An ad platform to develop and test against, on 127.0.0.1.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("--port", type=int, default=0, help="0, the default: a free one, named on standard output")
    result.add_argument("--certfile", help="serve TLS with this certificate (PEM)")
    result.add_argument("--keyfile", help="the certificate's key (PEM)")
    result.add_argument("--config", type=Path, metavar="FILE", help="settings, see below")
    result.add_argument(
        "--account",
        type=_account,
        action="append",
        default=[],
        dest="accounts",
        metavar="EMAIL:PASSWORD=CLIENT[,CLIENT]",
        help="credentials, and the client ids that they open; may be repeated",
    )
    for name in _PLATFORM:
        field = MockSettings.model_fields[name]
        about = f"{field.description} (default: {field.default})"
        result.add_argument(f"--{name.replace('_', '-')}", metavar="X", help=about)
    group = result.add_argument_group("how client ids are treated")
    for name, field in Behaviour.model_fields.items():
        kind = field.annotation
        option = f"--{name.replace('_', '-')}"
        about = f"{field.description} (default: {field.default})"
        if kind is bool:
            group.add_argument(option, default=None, action=argparse.BooleanOptionalAction, help=field.description)
        elif isinstance(kind, type) and issubclass(kind, StrEnum):
            nargs, const = ("?", "ietf") if kind is RateLimitForm else (None, None)  # it was a flag once
            group.add_argument(option, choices=[str(choice) for choice in kind], nargs=nargs, const=const, help=about)
        elif kind in (int, float, str):
            group.add_argument(option, metavar="X", help=about)
    return result


def document(options: argparse.Namespace) -> JsonValue:
    """Return the settings that `options` and the file that they name make together; raises OSError and ValueError."""
    base: JsonValue = {}
    if options.config is not None:
        text = options.config.read_text()
        base = json.loads(text) if options.config.suffix == ".json" else tomllib.loads(text)
    everyone = {name: getattr(options, name, None) for name in Behaviour.model_fields}
    patch: dict[str, JsonValue] = {
        **{name: getattr(options, name) for name in _PLATFORM},
        "accounts": dict(options.accounts),
        "everyone": everyone,
    }
    return merge_patch(base, _given(patch))


def _given(patch: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {
        key: _given(value) if isinstance(value, dict) else value
        for key, value in patch.items()
        if value not in (None, {})
    }


def _account(text: str) -> tuple[str, JsonValue]:
    email, _, rest = text.partition(":")
    password, equals, clients = rest.rpartition("=")
    if not equals:
        raise argparse.ArgumentTypeError("expected EMAIL:PASSWORD=CLIENT[,CLIENT]")
    return email, {"password": password, "clients": [*clients.split(",")]}
