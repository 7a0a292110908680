"""The requests that a profile describes, for one tenant: its texts with the placeholders filled, once a run.

Addresses are built by hand: a profile's texts stand in them as they are, but for characters that no address holds, and
what fills a placeholder is quoted. Libraries quote too much, such as the parentheses of LinkedIn's Rest.li.
"""

import json
import re
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx

from adsyncd.errors import ProfileMismatch
from adsyncd.model.profile import PLACEHOLDER, PagingKind, Texts
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.call import Call
from adsyncd.platforms.paging import Ask
from adsyncd.platforms.requests import Requests
from adsyncd.platforms.templates import fields, filled, holds_secret, in_json, route

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_ALONE = re.compile(r'"\{page_size\}"(?!:)')  # a JSON value that is this placeholder and nothing else
_IN_PATH = "!$&'()*+,;=:@/?"  # a path may be followed by a query
_IN_NAME, _IN_VALUE = "!$'()*,;:@/?", "!$'()*,;:@/?="  # of a query's parameter
_STRAY = re.compile(r"%(?![0-9A-Fa-f]{2})")
_quoted = partial(quote, safe="")

Headers = list[tuple[bytes, bytes]]


class ProfileRequests:
    """Builds the listing's requests and the pushes of one tenant."""

    def __init__(self, requests: Requests, tenant: Tenant) -> None:
        self._http = requests
        self._profile = profile = tenant.platform.profile
        self._listing = listing = profile.listing
        self._page_size = tenant.sync.page_size
        self._values = values = values_of(tenant)
        address = _address(listing.path, _IN_PATH)
        self._template = requests.path + route(address)
        self._path, _, query = filled(address, values, _quoted).partition("?")
        params = [
            f"{_address(name, _IN_NAME)}={filled(_address(text, _IN_VALUE), values, _quoted)}"
            for name, text in listing.params
        ]
        self._query = [query, *params] if query else params
        self._json = None if listing.json is None else _body(listing.json, values)
        push = profile.push
        self._push_path = "" if push is None else _address(push.path, _IN_PATH)
        self._push_template = requests.path + route(self._push_path)
        self._push_json = None if push is None or push.json is None else _ALONE.sub(values["page_size"], push.json)

    @property
    def listing_path(self) -> str:
        """The path to which the listing's requests go."""
        return self._http.path + self._path

    def listing(self, ask: Ask, call: Call, headers: Headers) -> httpx.Request:
        """Return the request for a page."""
        paging, query, body = self._listing.paging, list(self._query), self._json
        call.template = self._template
        added = []
        if paging.param is not None and ask.value is not None:
            added.append((paging.param, ask.value))
        if paging.size is not None:
            added.append((paging.size, str(self._page_size)))
        if paging.in_body:
            body = {**(body or {}), **{name: self._typed(name, value) for name, value in added}}
        else:
            query += [f"{_quoted(name)}={_quoted(value)}" for name, value in added]
        return self._http.build(
            self._listing.method,
            self._path,
            call,
            headers,
            query="&".join(query) or None if ask.query is None else ask.query,
            body=b"" if body is None else _JSON.encode(body).encode("utf-8"),
        )

    def push(self, campaign_id: str, key: str, call: Call) -> httpx.Request:
        """Return the request to push a campaign. `key`: the idempotency key.

        Raises `ProfileMismatch` if the platform takes no pushes.
        """
        push = self._profile.push
        if push is None:
            raise ProfileMismatch(f"the profile {self._profile.name} has no push")
        call.template = self._push_template
        values = {**self._values, "id": campaign_id}
        path, _, query = filled(self._push_path, values, _quoted).partition("?")
        body = "" if self._push_json is None else filled(self._push_json, values, in_json)
        name = push.idempotency_header
        headers = [] if name is None else [(name.lower().encode("ascii"), key.encode("ascii"))]
        return self._http.build(push.method, path, call, headers, query=query or None, body=body.encode("utf-8"))

    def _typed(self, name: str, value: str) -> str | int:
        """Return a paging's value as JSON has it: all but a cursor is a number."""
        is_cursor = name == self._listing.paging.param and self._listing.paging.kind is PagingKind.CURSOR
        return value if is_cursor else int(value)


def values_of(tenant: Tenant) -> dict[str, str]:
    """Return what fills the placeholders of a tenant's requests, by name, without `id` and the secrets."""
    named = {f"var.{name}": value for name, value in tenant.vars}
    return {"account": tenant.client_id, "page_size": str(tenant.sync.page_size), **named}


def constant_headers(headers: Texts, values: dict[str, str]) -> Headers:
    """Return header fields of a profile, without those that hold a secret."""
    return fields([(name, text) for name, text in headers if not holds_secret(text)], values)


def _address(text: str, safe: str) -> str:
    """Return a text as it stands in an address. Its placeholders, and what is quoted already, stay as they are."""
    parts = PLACEHOLDER.split(text)  # every other one is a placeholder's name
    return "".join(
        f"{{{part}}}" if place % 2 else quote(_STRAY.sub("%25", part), safe=f"{safe}%")
        for place, part in enumerate(parts)
    )


def _body(text: str, values: dict[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(filled(_ALONE.sub(values["page_size"], text), values, in_json))
    return body
