from adsyncd.control.page.found import found_view, hits
from support.drawn import a_run
from support.records import NOON


def test_each_hit_leads_to_its_page() -> None:
    found = hits(["acme"], ["umbrella"], [a_run("acme")], NOON)
    assert [(one.kind, one.href) for one in found] == [
        ("tenant", "/tenants/acme"),
        ("tenant with this campaign", "/tenants/umbrella"),
        ("run", "/tenants/acme/runs/acme-20261125T115600.000Z"),
    ]
    assert found_view("x", found).sentence == "3 hits."


def test_a_search_without_hits_says_so() -> None:
    assert found_view("x" * 5000, ()).sentence == "Nothing was found."
    assert len(found_view("x" * 5000, ()).asked.short) == 80
    assert found_view("", ()).sentence == "What do you look for?"
