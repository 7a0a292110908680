from datetime import UTC, datetime, timedelta, timezone

from adsyncd.model.run import Tally, Wait, run_id
from adsyncd.rate.wait import WaitReason

FIRE = datetime(2026, 11, 25, 10, 15, tzinfo=UTC)


def test_a_run_is_named_by_its_tenant_and_fire_time_in_utc() -> None:
    assert run_id("acme", FIRE) == "acme-20261125T101500.000Z"
    assert run_id("acme", FIRE.astimezone(timezone(timedelta(hours=5)))) == run_id("acme", FIRE)


def test_runs_a_millisecond_apart_have_names_of_their_own_that_sort_by_time() -> None:
    names = [run_id("acme", FIRE + timedelta(milliseconds=ms)) for ms in range(1200)]
    assert len(set(names)) == 1200
    assert names == sorted(names)


def test_campaigns_whose_outcome_is_known_are_settled_whatever_it_is() -> None:
    assert Tally(listed=20, pushed=1, skipped=2, stored=5, dead_lettered=3, failed=4).settled == 15


def test_of_several_waits_the_one_that_is_over_first_is_told_but_none_that_is_over_already() -> None:
    tally = Tally()
    in_line, first, later = (FIRE + timedelta(seconds=s) for s in (2, 20, 40))
    with (
        tally.waiting(WaitReason.BACKOFF, later),
        tally.waiting(WaitReason.QUOTA, in_line),
        tally.waiting(WaitReason.QUOTA, first),
    ):
        told = [tally.wait(FIRE + timedelta(seconds=s)) for s in (1, 3, 21, 41)]
        assert [wait and wait.until for wait in told] == [in_line, first, later, later]
    assert tally.wait(FIRE) is None


def test_a_wait_says_after_what_or_on_whose_account() -> None:
    assert str(Wait(WaitReason.QUOTA)) == "quota"
    assert str(Wait(WaitReason.BACKOFF, detail="Vault is sealed")) == "backoff after Vault is sealed"
    assert str(Wait(WaitReason.BREAKER, detail="ads.example.com")) == "circuit breaker of ads.example.com"
