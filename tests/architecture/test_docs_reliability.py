import pytest

from support.chaos import FAULTS
from support.reliability import PAGE, Row, page, results

LEAST_TRIALS = 20


def test_the_table_is_what_the_results_say() -> None:
    assert PAGE.read_text() == page(results())


def test_each_fault_was_tried_on_the_real_process_often_enough() -> None:
    tried = {row.fault: row.trials for row in results() if row.where == "process"}
    assert list(tried) == list(FAULTS)
    assert min(tried.values()) >= LEAST_TRIALS


@pytest.mark.parametrize("row", results(), ids=lambda row: row.fault)
def test_nothing_was_lost_doubled_or_refused(row: Row) -> None:
    assert row.pushes > 0
    assert (row.lost, row.doubled, row.refused) == (0, 0, 0)
