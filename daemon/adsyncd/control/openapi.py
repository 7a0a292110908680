"""The OpenAPI 3.1 document of /v1, generated from the table of endpoints and their types."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

import adsyncd
from adsyncd.control import wire
from adsyncd.control.access import SAFE_METHODS
from adsyncd.control.endpoint import Endpoint
from adsyncd.control.problem import FilesRefusedProblem, ProblemDetails

PATH = "/v1/openapi.json"

Json = dict[str, Any]

# Errors of any request, of a command, and of a request with a body.
_ALWAYS = {
    HTTPStatus.BAD_REQUEST: "The request is not valid HTTP.",
    HTTPStatus.MISDIRECTED_REQUEST: "The Host field is none of this server's names, or of `page.hosts`.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A parameter or the body is invalid; `detail` says where.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A bug in adsyncd; see its log.",
}
_OF_COMMANDS = {
    HTTPStatus.FORBIDDEN: "A browser sends it for a page of another origin (Origin, Sec-Fetch-Site).",
    HTTPStatus.METHOD_NOT_ALLOWED: "The socket only reads (`page.socket`).",
}
_BY_ITS_BODY = {
    HTTPStatus.REQUEST_TIMEOUT: "The body does not arrive in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The content type is not application/json.",
}


class _Schema(GenerateJsonSchema):
    """Marks every key of an answer as required, also those with a default."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        """Return whether a key is required."""
        return self.mode == "serialization" or super().field_is_required(field, total)


def document(endpoints: Sequence[Endpoint[Any]]) -> Json:
    """Return the document of these endpoints, and of the document itself."""
    orders = {endpoint.order for endpoint in endpoints if endpoint.order}
    answers = {repr(endpoint.answer): endpoint.answer for endpoint in endpoints}
    more = {repr(answer): answer for answer in (ProblemDetails, FilesRefusedProblem)}
    schemas, definitions = TypeAdapter.json_schemas(
        [
            *((repr(order), "validation", TypeAdapter(order)) for order in orders),
            *((name, "serialization", TypeAdapter(answer)) for name, answer in (answers | more).items()),
        ],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Schema,
    )
    by_type = {name: schema for (name, _), schema in schemas.items()}
    paths: dict[str, Json] = {PATH: {"get": _itself()}}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "adsyncd",
            "version": adsyncd.__version__,
            "description": "Status of the daemon and its tenants, and commands to them: HTTP over a Unix socket.",
        },
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    }


def _operation(endpoint: Endpoint[Any], schemas: Mapping[str, Json]) -> Json:
    refusals = {**_ALWAYS, **endpoint.refusals}
    unchanged = {"304": {"description": "The client has this answer: `If-None-Match` names its ETag."}}
    if endpoint.method not in SAFE_METHODS:
        refusals |= _OF_COMMANDS
    operation: Json = {"summary": endpoint.summary, "operationId": _name(endpoint)}
    if parameters := _parameters(endpoint):
        operation["parameters"] = parameters
    if endpoint.order:
        operation["requestBody"] = {"required": True, "content": _json(schemas[repr(endpoint.order)])}
        refusals |= _BY_ITS_BODY
    if "after" in endpoint.query.model_fields:
        refusals.setdefault(HTTPStatus.CONFLICT, "No page of this list begins after `after`.")
    responses = {endpoint.status: {"description": "Done.", "content": _json(schemas[repr(endpoint.answer)])}}
    for status, reason in sorted(refusals.items()):
        problem = endpoint.conflict if status is HTTPStatus.CONFLICT else ProblemDetails
        responses[status] = {"description": reason, "content": _json(schemas[repr(problem)], wire.PROBLEM_JSON)}
    operation["responses"] = {str(status.value): response for status, response in responses.items()}
    if endpoint.method == "GET":
        operation["responses"] |= unchanged
    return operation


def _parameters(endpoint: Endpoint[Any]) -> list[Json]:
    in_path = wire.of_path(endpoint.path).model_json_schema().get("properties", {})
    in_query = endpoint.query.model_json_schema().get("properties", {})
    return [
        *({"name": name, "in": "path", "required": True, "schema": schema} for name, schema in in_path.items()),
        *({"name": name, "in": "query", "schema": _without_null(schema)} for name, schema in in_query.items()),
    ]


def _without_null(schema: Json) -> Json:
    """Remove a null default, which a query can't express."""
    return {key: value for key, value in schema.items() if value is not None}


def _itself() -> Json:
    anything = {"type": "object"}
    return {
        "summary": "This document",
        "operationId": "get_openapi",
        "responses": {"200": {"description": "Done.", "content": _json(anything)}},
    }


def _name(endpoint: Endpoint[Any]) -> str:
    return "_".join([endpoint.method.lower(), *re.findall(r"\w+", endpoint.path)[1:]])


def _json(schema: Json, media_type: str = "application/json") -> Json:
    return {media_type: {"schema": schema}}
