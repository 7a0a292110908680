"""Tables of a profile's listing: the request for a page, how pages follow, and where a record has its values."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from adsyncd.config.diagnostics import wrong
from adsyncd.config.field_types import (
    ConfigTable,
    PrintableText,
    Whole,
)
from adsyncd.config.profile_types import ApiPath, RecordsPath, Scale, ValuePath
from adsyncd.config.templates import as_json, as_texts
from adsyncd.model.profile import FieldPlace, Listing, Paging, PagingKind, Times


class PagingTable(ConfigTable):
    """How pages follow each other. See `adsyncd.model.profile.Paging`."""

    kind: PagingKind = Field(PagingKind.NONE, examples=["cursor"])
    param: PrintableText | None = Field(None, examples=["page"])
    size: PrintableText | None = Field(None, examples=["page_size"])
    in_: Literal["query", "body"] = Field("query", alias="in")
    first: Whole = Field(1, ge=0, le=1)
    next: ValuePath | None = Field(None, examples=["paging.cursors.after"])
    has_more: ValuePath | None = Field(None, examples=["pagination.has_more"])
    total: ValuePath | None = Field(None, examples=["pagination.total"])

    @model_validator(mode="after")
    def _complete(self) -> Self:
        follows = self.kind in {PagingKind.CURSOR, PagingKind.LINK}
        if follows and self.next is None:
            raise wrong(f'of kind "{self.kind}" needs next, the path to it in an answer', echo=False)
        if not follows and self.next is not None:
            raise wrong(f'of kind "{self.kind}" has no use for next', echo=False)
        has_param = self.kind in {PagingKind.NUMBER, PagingKind.OFFSET, PagingKind.CURSOR}
        if has_param and self.param is None:
            raise wrong(f'of kind "{self.kind}" needs param, the name of the parameter', echo=False)
        if not has_param and self.param is not None:
            raise wrong(f'of kind "{self.kind}" has no use for param', echo=False)
        if "first" in self.model_fields_set and self.kind is not PagingKind.NUMBER:
            raise wrong('has first, which only kind "number" uses', echo=False)
        if follows and self.has_more is not None:
            raise wrong("has both next and has_more; keep next: without it no page follows", echo=False)
        return self

    def paging(self) -> Paging:
        """Return the domain value."""
        return Paging(
            self.kind, self.param, self.size, self.in_ == "body", self.first, self.next, self.has_more, self.total
        )


class ListTable(ConfigTable):
    """The request for a page of campaigns."""

    method: Literal["GET", "POST"] = "GET"
    path: ApiPath = Field(examples=["/v1/accounts/{account}/campaigns"])
    params: dict[str, str] = Field(default_factory=dict)
    json_: dict[str, Any] | None = Field(None, alias="json", examples=[{"AdvertiserId": "{account}"}])
    records: RecordsPath = Field(examples=["data"])
    absent: Literal["error", "empty"] = "error"
    page_size: tuple[Whole, Whole] = Field((1, 1000), examples=[[1, 500]])
    cost: Whole = Field(1, ge=1, le=1000)
    paging: PagingTable = PagingTable()

    @model_validator(mode="after")
    def _sendable(self) -> Self:
        if self.method == "GET" and self.has_body:
            raise wrong('has a body, which a GET has not; write method = "POST"', echo=False)
        return self

    @field_validator("page_size")
    @classmethod
    def _sizes(cls, sizes: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= sizes[0] <= sizes[1]:
            raise wrong("must be the smallest and the largest page that the platform accepts, from 1", echo=False)
        return sizes

    @property
    def has_body(self) -> bool:
        """Whether the request has a body."""
        return self.json_ is not None or self.paging.in_ == "body"

    def listing(self) -> Listing:
        """Return the domain value."""
        return Listing(
            self.method,
            self.path,
            self.records,
            as_texts(self.params),
            as_json(self.json_) or ("{}" if self.paging.in_ == "body" else None),
            self.absent == "empty",
            self.page_size,
            self.cost,
            self.paging.paging(),
        )


def _paths(value: object) -> object:
    return [value] if isinstance(value, str) else value


class FieldTable(ConfigTable):
    """Where a record has a value: a path, or several, of which the first that leads to a value counts."""

    path: Annotated[tuple[ValuePath, ...], BeforeValidator(_paths)] = Field(
        min_length=1, max_length=8, examples=["campaign.id"]
    )
    scale: Scale = 1.0
    time: Times | None = None

    def place(self, column: str) -> FieldPlace:
        """Return the domain value."""
        return FieldPlace(column, self.path, self.scale, self.time)


def _path_alone(value: object) -> object:
    if not isinstance(value, str | list | dict | FieldTable):
        raise wrong("expected a path, several paths, or a table with path")
    return {"path": value} if isinstance(value, str | list) else value


OneField = Annotated[FieldTable, BeforeValidator(_path_alone)]
"""The table, or only its `path`."""


class FieldsTable(ConfigTable):
    """Where a record has the values of a campaign's columns, and which of its values change constantly."""

    id: OneField = Field(examples=["id"])
    name: OneField | None = Field(None, examples=["name"])
    status: OneField | None = Field(None, examples=["status"])
    budget: OneField | None = Field(None, examples=[{"path": "budget_micros", "scale": 1e-6}])
    currency: OneField | None = Field(None, examples=["currency"])
    impressions: OneField | None = Field(None, examples=["impressions"])
    clicks: OneField | None = Field(None, examples=["clicks"])
    conversions: OneField | None = Field(None, examples=["conversions"])
    created_at: OneField | None = Field(None, examples=[{"path": "created", "time": "ms"}])
    volatile: tuple[ValuePath, ...] = Field((), max_length=64, examples=[["updated_at"]])

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        for name, field in self._named():
            if field.scale != 1 and name != "budget":
                raise wrong(f"{name} has a scale, which only budget uses", echo=False)
            if field.time is not None and name != "created_at":
                raise wrong(f"{name} has a time, which only created_at uses", echo=False)
        return self

    def fields(self) -> tuple[FieldPlace, ...]:
        """Return the domain values."""
        return tuple(field.place(name) for name, field in self._named())

    def _named(self) -> Iterator[tuple[str, FieldTable]]:
        for name in type(self).model_fields:
            if name != "volatile" and (field := getattr(self, name)) is not None:
                yield name, field
