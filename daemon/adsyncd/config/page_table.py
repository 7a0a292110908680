"""The table `[page]` of the settings: by which names the page is reached, and who else may read it."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from adsyncd.config.diagnostics import wrong
from adsyncd.config.field_types import ConfigTable, SocketPath, SomeText, checked_url
from adsyncd.model.web_host import read_host

TRACE_ID = "{trace_id}"
_SAMPLE = "0" * 32


def _host_name(value: str) -> str:
    host = read_host(value)
    if host is None or host.port is not None or value.endswith(":") or not host.is_usable:
        raise wrong(
            "expected a host name alone, without scheme, user, port and path", 'write for example "ads.example.com"'
        )
    return host.name


def _trace_url(value: str) -> str:
    others = [f"{{{name}}}" for name in dict.fromkeys(re.findall(r"\{([^{}]*)\}", value)) if f"{{{name}}}" != TRACE_ID]
    if others:
        raise wrong(f"has unknown placeholders: {', '.join(others)}", f"the only one is {TRACE_ID}", echo=False)
    if re.search(r"[{}]", value.replace(TRACE_ID, "")):
        raise wrong("has a brace that is not part of a placeholder", "write { as %7B, and } as %7D", echo=False)
    if TRACE_ID not in value:
        raise wrong(f"has no {TRACE_ID}", f'write for example "https://traces.example.com/trace/{TRACE_ID}"')
    sample = value.replace(TRACE_ID, _SAMPLE)
    checked_url(sample.partition("#")[0])
    if not re.fullmatch("[!-~]+", sample):
        raise wrong("must be printable ASCII without spaces", "write other characters as %XX")
    if _SAMPLE in urlsplit(sample).netloc:
        raise wrong(f"has {TRACE_ID} in its host name", "it belongs into the path, the query or the fragment")
    return value


HostName = Annotated[str, AfterValidator(_host_name)]
TraceUrl = Annotated[str, AfterValidator(_trace_url)]


class PageTable(ConfigTable):
    """The page. `hosts`: further names by which browsers reach it; `trace_url`: the address of a trace.

    `socket`: a second socket, which only reads; members of `group` may use it, beside the daemon's own user.
    """

    hosts: tuple[HostName, ...] = Field((), examples=[["ads.example.com"]])
    socket: SocketPath | None = Field(None, examples=["/run/adsyncd/page.sock"])
    group: SomeText | None = Field(None, examples=["marketing"])
    trace_url: TraceUrl | None = Field(None, examples=["https://traces.example.com/trace/{trace_id}"])

    @field_validator("group")
    @classmethod
    def _needs_a_socket(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("socket", Path()) is None:
            raise wrong("needs page.socket, which it is for", 'add socket = "/run/adsyncd/page.sock"')
        return value
