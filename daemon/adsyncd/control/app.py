"""HTTP routes of the endpoints: requests are validated, errors become problem details (RFC 9457)."""

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import cache, partial
from http import HTTPStatus
from typing import Any, TypeVar

import anyio
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from adsyncd.control import openapi, wire
from adsyncd.control.attention import Overview
from adsyncd.control.audit import recorded
from adsyncd.control.bulk import BULK, Bulk
from adsyncd.control.commands import Commands
from adsyncd.control.endpoint import Asked, Endpoint, Subject
from adsyncd.control.endpoints import COMMANDS, ENDPOINTS, FilesRefused
from adsyncd.control.etag import tagged
from adsyncd.control.lists import LISTS
from adsyncd.control.page.site import Site, wants_page
from adsyncd.control.paging import TOTAL, Listed
from adsyncd.control.problem import FilesRefusedProblem, ProblemDetails
from adsyncd.errors import AdsyncdError, CommandRefused, NoSuchRun, NoSuchTenant, Stopping, StoreError

T = TypeVar("T")
Answering = Callable[[Request], Awaitable[Response]]

_LARGEST_BODY = 256 * 1024
_BODY_S = 10.0

_STATUSES = (
    (NoSuchTenant, HTTPStatus.NOT_FOUND),
    (NoSuchRun, HTTPStatus.NOT_FOUND),
    (CommandRefused, HTTPStatus.CONFLICT),
    (Stopping, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def application(commands: Commands, overview: Overview, site: Site | None = None) -> Starlette:
    """Return the ASGI application: `commands` and `overview` for programs, the pages of `site` for browsers."""
    document, bulk = _document(), Bulk(commands, overview)

    async def describe(_request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def http_error(request: Request, error: Exception) -> Response:
        if site and isinstance(error, HTTPException) and wants_page(request):
            return await site.error(request, error.status_code, error.detail)
        return await _http_error(request, error)

    app = Starlette(
        routes=[
            Route(openapi.PATH, describe),
            *_routes(COMMANDS, commands, overview.look_again),
            *_routes(LISTS, overview),
            *_routes(BULK, bulk, overview.look_again),
            *(site.routes if site else ()),
        ],
        exception_handlers={
            HTTPException: http_error,
            AdsyncdError: _refused,
            ClientDisconnect: _disconnected,
            Exception: _bug,  # uvicorn logs it
        },
    )
    app.router.redirect_slashes = False
    return app


@cache
def _document() -> bytes:
    return json.dumps(openapi.document(ENDPOINTS)).encode()


def _routes(
    endpoints: Iterable[Endpoint[Subject]], subject: Subject, commanded: Callable[[], None] | None = None
) -> Iterator[Route]:
    """Yield a route for each path: one that has a GET and a POST knows both methods."""
    by_path: dict[str, dict[str, Answering]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = _answering(endpoint, subject, commanded)
    for path, answering in by_path.items():
        yield Route(path, partial(_answer, answering), methods=[*answering])


async def _answer(answering: Mapping[str, Answering], request: Request) -> Response:
    return await answering["GET" if request.method == "HEAD" else request.method](request)


def _answering(endpoint: Endpoint[Subject], subject: Subject, commanded: Callable[[], None] | None) -> Answering:
    answers = _adapter(endpoint.answer)

    async def answer(request: Request) -> Response:
        asked = await _asked(endpoint, request)
        command = endpoint.path.rpartition("/")[2]
        try:
            with nullcontext() if endpoint.method == "GET" else recorded(request, command, asked.tenant, asked.notes):
                value = await endpoint.call(subject, asked)
        finally:
            if commanded and endpoint.method != "GET":  # also if it failed: a part of it may be done
                commanded()
        link = value.link(request.url.path, request.query_params) if isinstance(value, Listed) else None
        body = _json(answers, (value.body or value.items) if isinstance(value, Listed) else value)
        headers = {"link": link} if link else {}
        if isinstance(value, Listed) and value.total is not None:
            headers[TOTAL] = str(value.total)
        response = Response(body, endpoint.status, headers, media_type="application/json")
        return response if endpoint.method == "POST" else tagged(request, response)

    return answer


@cache
def _adapter(answer: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - any type
    return TypeAdapter(answer)


async def _asked(endpoint: Endpoint[Any], request: Request) -> Asked:
    """Return the validated parameters of a request. Raises HTTPException if they are malformed or unknown."""
    query = request.query_params
    try:
        if len(query) != len(query.multi_items()):
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "a query parameter is repeated")
        return Asked(
            **wire.of_path(endpoint.path).model_validate(request.path_params).model_dump(),
            query=endpoint.query.model_validate(dict(query)),
            order=endpoint.order.model_validate_json(await _body(request)) if endpoint.order else None,
        )
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {_reason(one)}" for one in error.errors()]
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(wrong)) from error


def _reason(error: ErrorDetails) -> str:
    return "unknown key" if error["type"] == "extra_forbidden" else error["msg"]


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    body = b""
    with anyio.move_on_after(_BODY_S):
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_BODY:
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {_LARGEST_BODY} bytes"
                )
        return body
    raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {_BODY_S:g} s")


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    response = _problem(error.status_code, error.detail, f"see {openapi.PATH}")
    response.headers.update(error.headers or {})
    return response


async def _refused(_request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    if isinstance(error, FilesRefused):
        return _problem(status, error.what, error.fix, FilesRefusedProblem, report=error.report)
    if isinstance(error, CommandRefused):
        return _problem(status, error.what, error.fix)
    return _problem(status, str(error))


async def _disconnected(_request: Request, _error: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)  # the client has disconnected


async def _bug(_request: Request, _error: Exception) -> Response:
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a bug in adsyncd", "see its log")


def _problem(
    status: int,
    detail: str,
    fix: str | None = None,
    kind: type[ProblemDetails] = ProblemDetails,
    **more: object,
) -> Response:
    problem = kind.model_validate(
        {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, "fix": fix, **more}
    )
    return Response(_json(TypeAdapter(kind), problem), status, media_type=wire.PROBLEM_JSON)


def _json(kind: TypeAdapter[T], value: T) -> bytes:
    try:
        return kind.dump_json(value)
    except PydanticSerializationError:  # half a surrogate pair: a file name that is not UTF-8
        return json.dumps(kind.dump_python(value, mode="json"), ensure_ascii=False).encode(errors="replace")
