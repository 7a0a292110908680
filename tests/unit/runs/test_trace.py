from dataclasses import replace

import pytest

from adsyncd.model.run import Run, Tally
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.trace import FIELDS, WAITS, attributes_of, links_to
from support.records import run


def test_the_root_span_tells_what_the_run_did_and_waited_for() -> None:
    waits = {WaitReason.QUOTA: 30.0, WaitReason.RETRY_AFTER: 1.23456}
    told = attributes_of(replace(run(), listed=9, pushed=7, dead_lettered=1, failed=1, late_s=60.5, waits=waits))
    assert told == dict.fromkeys(FIELDS.values(), 0) | {
        "adsyncd.run.listed": 9,
        "adsyncd.run.pushed": 7,
        "adsyncd.run.dead_lettered": 1,
        "adsyncd.run.failed": 1,
        "adsyncd.run.late_s": 60.5,
        "adsyncd.run.waits_s.quota": 30.0,
        "adsyncd.run.waits_s.retry_after": 1.235,
    }


def test_each_count_of_a_run_and_each_reason_for_a_wait_has_a_name() -> None:
    counts = {name for name, kind in Tally.__annotations__.items() if kind is int} & {*Run.__slots__}
    assert counts <= FIELDS.keys() <= {*Run.__slots__}
    assert WAITS.keys() == {*WaitReason}


def test_a_resumed_run_links_to_the_root_span_before_it() -> None:
    before = replace(run(), trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331")
    [link] = links_to(before)
    assert (link.context.trace_id, link.context.span_id) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)


@pytest.mark.parametrize(
    "before", [None, replace(run(), span_id=""), replace(run(), trace_id="0" * 32, span_id="0" * 16)]
)
def test_there_is_no_link_to_a_span_that_has_no_ids(before: Run | None) -> None:
    assert links_to(before) == []
