"""Templates become answers: autoescaped HTML with the headers that keep strangers' words from doing anything.

Jinja2 is imported at the first page: a sync needs none, and most daemons are asked by the command line alone.
"""

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from adsyncd.control.page.assets import versioned
from adsyncd.control.page.frame import Frame
from adsyncd.escaping import escaped

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer, browsers send `Origin: null` with forms
    "cache-control": "no-store",
}


def html(request: Request, template: str, frame: Frame, status: int = 200, **values: object) -> Response:
    """Return a page as an answer, or 304 if its content is what `If-None-Match` names.

    The tag is of `<main>` alone: the clock in the header changes each second, and the script keeps it.
    """
    text = render(template, frame=frame, **values)
    body = text.encode(errors="replace")
    tag = f'W/"{hashlib.blake2b(body[body.index(b"<main") :], digest_size=12).hexdigest()}"'
    headers = {**HEADERS, "etag": tag, "vary": "accept"}
    if status == 200 and tag in request.headers.get("if-none-match", ""):  # noqa: PLR2004 - a page that is well
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers, "text/html; charset=utf-8")


def render(template: str, **values: object) -> str:
    """Return the HTML of a template."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - slow to import, and seldom needed

    environment = Environment(
        loader=PackageLoader("adsyncd.control.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
        auto_reload=False,
    )
    environment.globals["asset"] = versioned
    return environment


def _printable(value: object) -> object:
    """Escape what is unprintable or changes the direction of a text, before the text is escaped for HTML."""
    return value if hasattr(value, "__html__") or not isinstance(value, str) else escaped(value)
