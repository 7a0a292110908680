from hypothesis import given
from hypothesis import strategies as st

from adsyncd.campaign import idempotency_key

ids = st.text(min_size=1, max_size=20)
tenants = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,20}\Z")


def test_a_push_has_the_key_that_it_has_had_in_every_version() -> None:
    # Fixed for ever: a run that an older version left open is resumed with the keys that it had.
    assert idempotency_key("acme", "cmp-0001", "acme-20261125T101500.000Z") == "2492ec24-caac-5d6d-8b0b-37529e12cea9"


@given(st.tuples(tenants, ids), st.tuples(tenants, ids))
def test_pushes_of_other_tenants_campaigns_or_runs_have_other_keys(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    keys = {
        idempotency_key(tenant, campaign, f"{tenant}-{stamp}")
        for tenant, campaign in (one, other)
        for stamp in ("20261125T101500.000Z", "20261125T103000.000Z")
    }
    assert len(keys) == (2 if one == other else 4)
