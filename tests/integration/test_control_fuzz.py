"""The control socket's API and its own description: whatever a client sends, it gets what that describes."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import settings

from adsyncd.control import openapi
from adsyncd.control.endpoints import ENDPOINTS
from support.control import an_inside, tenant
from support.records import bury, run
from support.web import serving

api = schemathesis.openapi.from_dict(openapi.document(ENDPOINTS))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the API of a daemon with tenants, runs and dead letters, on an event loop of its own."""
    folder = tmp_path_factory.mktemp("fuzz")
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        inside = stack.enter_context(
            portal.wrap_async_context_manager(an_inside(folder, tenant("acme"), tenant("globex")))
        )
        portal.call(bury, inside.store, "acme", "c1", "c2")
        yield stack.enter_context(portal.wrap_async_context_manager(serving(inside.app)))


@api.include(path="/v1/tenants/{tenant}/runs/{run}").parametrize()
@settings(max_examples=15, derandomize=True)
def test_a_run_that_there_is_is_described(case: schemathesis.Case[Any], address: str) -> None:
    case.path_parameters = {"tenant": "acme", "run": run().run_id}  # no other way leads to one
    case.call_and_validate(address, timeout=10)


@api.parametrize()
@settings(max_examples=15, derandomize=True)
def test_every_answer_is_one_that_is_described(case: schemathesis.Case[Any], address: str) -> None:
    case.call_and_validate(address, timeout=10)
