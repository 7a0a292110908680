import io
from typing import Any

import pytest
from rich.console import Console

from adsyncd.demo.collector import Attributes, ExportedSpan
from adsyncd.demo.trace_tree import trace_tree

TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(
    span_id: str,
    parent_id: str | None,
    name: str,
    start_s: float = 0,
    *,
    lasting_s: float = 1,
    **more: Any,  # noqa: ANN401 - a span's fields
) -> ExportedSpan:
    times = {"start_ns": int(start_s * 1e9), "end_ns": int((start_s + lasting_s) * 1e9)}
    about: dict[str, Any] = {"trace_id": TRACE, "attributes": {}, "error": False, "message": ""} | times | more
    return ExportedSpan(
        resource={}, span_id=span_id, parent_id=parent_id, name=name, kind="internal", events=(), links=(), **about
    )


def drawn(*spans: ExportedSpan, alike: int = 3) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=120).print(trace_tree(spans, TRACE, alike))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_trace_is_drawn_in_the_order_of_time_whatever_the_order_of_arrival() -> None:
    assert drawn(
        span("c", "a", "campaign.push", 2, lasting_s=0.035),
        span("b", "a", "campaigns.list", 1),
        span("a", None, "sync.run", lasting_s=61.25),
        span("x", None, "sync.run", trace_id="another"),
    ) == [f"trace {TRACE}", "└── sync.run 61.25 s", "    ├── campaigns.list 1.00 s", "    └── campaign.push 35 ms"]


def test_a_span_says_what_its_parent_has_not_said() -> None:
    run: Attributes = {"adsyncd.tenant": "acme", "adsyncd.run_id": "acme-1"}
    lines = drawn(
        span("a", None, "sync.run", attributes=run),
        span("b", "a", "campaign.push", attributes={**run, "adsyncd.campaign_id": "c-7"}),
    )
    assert lines[1:] == [
        "└── sync.run 1.00 s tenant=acme run_id=acme-1",
        "    └── campaign.push 1.00 s campaign_id=c-7",
    ]


def test_a_request_shows_path_status_and_resend() -> None:
    attributes: Attributes = {
        "url.full": "https://ads.example.com/api/campaigns",
        "http.response.status_code": 503,
        "http.request.resend_count": 1,
        "error.type": "503",
    }
    assert drawn(span("a", None, "GET", attributes=attributes, error=True))[1:] == [
        "└── GET 1.00 s /api/campaigns 503 resend 1"
    ]


@pytest.mark.parametrize(
    ("template", "path", "shown"),
    [
        ("/campaigns", "/campaigns", "GET /campaigns 1.00 s 200"),
        ("/campaigns/{campaign_id}", "/campaigns/c-7", "GET /campaigns/{campaign_id} 1.00 s /campaigns/c-7 200"),
    ],
)
def test_a_request_shows_its_path_only_where_its_name_does_not_tell(template: str, path: str, shown: str) -> None:
    url = f"https://ads.example.com{path}"
    attributes: Attributes = {"url.full": url, "url.template": template, "http.response.status_code": 200}
    assert drawn(span("a", None, f"GET {template}", attributes=attributes))[1:] == [f"└── {shown}"]


def test_a_run_is_shown_without_its_counts() -> None:
    attributes: Attributes = {"adsyncd.tenant": "acme", "adsyncd.run.listed": 12}
    assert drawn(span("a", None, "sync.run", attributes=attributes))[1:] == ["└── sync.run 1.00 s tenant=acme"]


def test_an_error_shows_its_message_or_else_its_type() -> None:
    assert drawn(
        span("a", None, "campaigns.page", error=True, message="no answer within 10 s"),
        span("b", None, "campaign.push", 1, error=True, attributes={"error.type": "cancelled"}),
    )[1:] == ["├── campaigns.page 1.00 s no answer within 10 s", "└── campaign.push 1.00 s cancelled"]


def test_of_many_alike_those_with_most_below_them_are_shown_and_the_rest_is_counted() -> None:
    pushes = [span(f"p{number}", "a", "campaign.push", number, error=number == 0) for number in range(5)]
    assert drawn(span("a", None, "sync.run"), *pushes, span("h", "p3", "POST", 3), alike=1)[1:] == [
        "└── sync.run 1.00 s",
        "    ├── campaign.push 1.00 s",
        "    │   └── POST 1.00 s",
        "    └── 4 more campaign.push, 1 with errors",
    ]


def test_what_is_below_counts_by_its_kinds_before_its_number() -> None:
    assert drawn(
        span("a", None, "sync.run"),
        span("b", "a", "campaigns.page", 1),
        *[span(f"g{number}", "b", "GET", number) for number in range(5)],
        span("c", "a", "campaigns.page", 2),
        span("t", "c", "token.refresh", 2),
        span("g", "c", "GET", 3),
        alike=1,
    )[2:] == [
        "    ├── campaigns.page 1.00 s",
        "    │   ├── token.refresh 1.00 s",
        "    │   └── GET 1.00 s",
        "    └── 1 more campaigns.page",
    ]


def test_what_went_well_and_has_nothing_below_it_shares_a_line() -> None:
    waits = [span(f"w{number}", "a", "quota.wait", number, lasting_s=0.25) for number in range(5)]
    assert drawn(span("a", None, "campaign.push"), *waits)[2:] == ["    └── quota.wait x5 1.25 s"]


def test_requests_of_which_one_failed_are_shown_twice_as_many_as_what_has_more_below_it() -> None:
    tries = [span(f"g{number}", "a", "GET", number, error=number == 0) for number in range(5)]
    assert drawn(span("a", None, "campaigns.page"), *tries, alike=2)[2:] == [
        "    ├── GET 1.00 s error",
        "    ├── GET 1.00 s",
        "    ├── GET 1.00 s",
        "    ├── GET 1.00 s",
        "    └── 1 more GET",
    ]


def test_a_span_whose_parent_did_not_arrive_is_still_drawn() -> None:
    assert drawn(span("b", "lost", "campaign.push"))[1:] == ["└── campaign.push 1.00 s"]


def test_a_name_is_not_read_as_markup() -> None:
    assert drawn(span("a", None, "[red]x[/red]"))[1:] == ["└── [red]x[/red] 1.00 s"]
