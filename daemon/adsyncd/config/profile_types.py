"""The types of single values in a profile: paths of an API, header fields, paths through an answer, factors.

Errors do not quote what could be a secret that was written by mistake where its name belongs.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, Strict

from adsyncd.config.diagnostics import wrong
from adsyncd.config.field_types import base_url, checked_url
from adsyncd.model.profile import PLACEHOLDER

_LONGEST_PATH = 4096
_LONGEST_LINE = 1024
_IN_URLS = re.compile(r"[A-Za-z0-9._~:/?@!$&'()*+,;=%\[\]-]*")  # RFC 3986, with the brackets that queries have
_NAME_OF_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")  # RFC 9110, section 5.6.2
_NAME_OF_SECRET = re.compile("[a-z][a-z0-9_]{0,62}")
_TEXT_OF_HEADER = re.compile(rf"[!-~]([ -~]{{0,{_LONGEST_LINE - 2}}}[!-~])?")


def _api_path(value: str) -> str:
    if not value.startswith("/") or value.startswith("//"):
        raise wrong("expected a path that begins with one /", echo=False)
    rest = PLACEHOLDER.sub("", value)
    if not _IN_URLS.fullmatch(rest):
        odd = next(character for character in rest if not _IN_URLS.fullmatch(character))
        raise wrong(f"has {odd!a}, which no address may have", f"write {_percent_encoded(odd)}", echo=False)
    if {".", ".."} & set(value.partition("?")[0].split("/")):
        raise wrong('must not have the segments "." or ".."', "write the path that they lead to", echo=False)
    if len(value) > _LONGEST_PATH:
        raise wrong(f"must have at most {_LONGEST_PATH} characters", "shorten it", echo=False)
    return value


def _api_address(value: str) -> str:
    base_url(PLACEHOLDER.sub("x", value))  # of a placeholder another check says that nothing fills it
    return value.rstrip("/")


def _sign_in_url(value: str) -> str:
    if value.startswith("/"):
        return _api_path(value)
    host, slash, path = re.sub("^https?://", "", value).partition("/")
    if "{" in host:  # a drop-in must not choose where secrets go
        raise wrong("must not have a placeholder in its host", "name the host itself", echo=False)
    checked_url(value)
    _api_path(f"/{path}" if slash else "/")
    return value


def _percent_encoded(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="replace"))


def _header_name(value: str) -> str:
    if not _NAME_OF_HEADER.fullmatch(value):
        raise wrong("expected the name of a header field", echo=False)
    return value


def _header_text(value: str) -> str:
    if not _TEXT_OF_HEADER.fullmatch(value):
        what = f"expected 1 to {_LONGEST_LINE} printable ASCII characters, without spaces at the ends"
        raise wrong(what, "", echo=False)
    return value


def _secret_name(value: str) -> str:
    if not _NAME_OF_SECRET.fullmatch(value):
        fix = 'for example "access_token"; the secret itself belongs to the credentials'
        raise wrong("expected the name of a secret: a-z, 0-9 and _", fix, echo=False)
    return value


def _json_path(value: str) -> str:
    names = value.split(".")
    if not all(names) or "*" in names or len(value) > _LONGEST_LINE:
        raise wrong('expected names joined by dots, such as "data.items"')
    return value


ApiPath = Annotated[str, AfterValidator(_api_path)]
ApiAddress = Annotated[str, AfterValidator(_api_address)]
SignInUrl = Annotated[str, AfterValidator(_sign_in_url)]
HeaderFields = dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_header_text)]]
HeaderFieldName = Annotated[str, AfterValidator(_header_name)]
SecretName = Annotated[str, AfterValidator(_secret_name)]
ValuePath = Annotated[str, AfterValidator(_json_path)]
"""A path to one value. Unlike the paths in rules and limits it does not search."""
RecordsPath = Annotated[str, AfterValidator(lambda value: value and _json_path(value))]
Scale = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
