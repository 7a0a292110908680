"""Alertmanager and a webhook as alerts meet them: strict about what they are sent, and sick when they are told to be.

The shape is `postableAlerts` of Alertmanager's api/v2/openapi.yaml; the rest is what it checks of each alert itself.
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from support.web import serving

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")  # RFC 3339


def check_postable_alerts(document: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    """Return the alerts, or fail on what Alertmanager would refuse or not understand."""
    assert isinstance(document, list)
    for alert in document:
        assert isinstance(alert, dict)
        assert alert.keys() <= {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
        assert alert["labels"].get("alertname")
        for name, value in alert["labels"].items():
            assert _LABEL_NAME.fullmatch(name)
            assert isinstance(value, str)
            assert value
        for name, value in alert.get("annotations", {}).items():
            assert _LABEL_NAME.fullmatch(name)
            assert isinstance(value, str)
        for key in {"startsAt", "endsAt"} & alert.keys():
            assert _DATE_TIME.fullmatch(alert[key])
        if {"startsAt", "endsAt"} <= alert.keys():
            assert instant(alert["startsAt"]) <= instant(alert["endsAt"])
    return document


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@dataclass(slots=True)
class Receivers:
    """A webhook at `/hook/...` and an Alertmanager on one address. They answer with `status` or, `hanging`, not at all.

    What they refuse is not kept, but counted in `refused`. A wrong shape is in `mistakes`.
    """

    address: str = ""
    status: int = 200
    hanging: bool = False
    hooked: list[dict[str, Any]] = field(default_factory=list)  # the alerts that the webhook was told of
    posted: list[dict[str, Any]] = field(default_factory=list)  # and those that Alertmanager was
    refused: int = 0
    mistakes: list[str] = field(default_factory=list)
    _released: anyio.Event = field(default_factory=anyio.Event)

    @property
    def app(self) -> Starlette:
        """What serves them."""
        return Starlette(
            routes=[
                Route("/hook/{secret}", self.hook, methods=["POST"]),
                Route("/api/v2/alerts", self.post, methods=["POST"]),
            ]
        )

    async def hook(self, request: Request) -> Response:
        return await self._take(request, self._hooked)

    async def post(self, request: Request) -> Response:
        return await self._take(request, self._posted)

    async def _take(self, request: Request, keep: Any) -> Response:  # noqa: ANN401 - a method
        document = json.loads(await request.body())
        if self.hanging:
            self.refused += 1
            await self._released.wait()
        elif self.status == 200:
            try:
                keep(document)
            except (AssertionError, KeyError, TypeError) as error:
                self.mistakes.append(f"{error!r}: {document}")
        else:
            self.refused += 1
        return Response(status_code=self.status)

    def _hooked(self, document: Any) -> None:  # noqa: ANN401 - JSON
        assert document.keys() == {"text", "alerts"}
        assert isinstance(document["text"], str)
        self.hooked += document["alerts"]

    def _posted(self, document: Any) -> None:  # noqa: ANN401 - JSON
        self.posted += check_postable_alerts(document)

    def release(self) -> None:
        """Let go of the requests that hang."""
        self._released.set()

    def firing(self, now: datetime) -> set[tuple[str, str]]:
        """Return what Alertmanager takes for active: (tenant, alertname), by the last that it heard of each."""
        last = {(alert["labels"]["tenant"], alert["labels"]["alertname"]): alert["endsAt"] for alert in self.posted}
        return {key for key, ends_at in last.items() if instant(ends_at) > now}


@asynccontextmanager
async def running_receivers(port: int = 0, *, hanging: bool = False) -> AsyncIterator[Receivers]:
    """Listen on 127.0.0.1, at `port` if it is given."""
    receivers = Receivers(hanging=hanging)
    async with serving(receivers.app, port) as address:
        receivers.address = address
        try:
            yield receivers
        finally:
            receivers.release()
