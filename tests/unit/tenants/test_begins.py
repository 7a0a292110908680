"""Whether runs begin, by what the last attempts came to."""

from adsyncd.errors import LeaseLost, StoreError
from adsyncd.tenants.begins import Begins


def test_nothing_is_wrong_before_the_first_begin_and_after_few_failures() -> None:
    begins = Begins()
    assert begins.problem is None
    begins.failed(StoreError("adsyncd.db: it refused a statement"))
    begins.failed(StoreError("adsyncd.db: it refused a statement"))
    assert begins.problem is None


def test_failures_in_a_row_are_told_with_the_last_error_until_a_run_begins() -> None:
    begins = Begins()
    for number in range(3):
        begins.failed(StoreError(f"adsyncd.db: error {number}"))
    assert begins.problem == "no run could begin lately: adsyncd.db: error 2"
    begins.succeeded()
    assert begins.problem is None
    begins.failed(StoreError("adsyncd.db: again"))
    assert begins.problem is None


def test_a_lost_lease_says_nothing_of_other_runs() -> None:
    begins = Begins()
    for _ in range(9):
        begins.failed(LeaseLost("another process has it"))
    assert begins.problem is None
