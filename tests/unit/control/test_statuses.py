"""A glance at all tenants, and what is wrong with files."""

from adsyncd.model.status import RefusedFile, State
from adsyncd.model.verdict import Severity, Trouble
from support.control import WRONG, Inside, tenant


async def test_a_glance_shows_tenants_with_and_without_workers_in_the_order_of_their_ids(inside: Inside) -> None:
    inside.files.disabled = [tenant("initech", enabled=False)]
    inside.files.refused = [RefusedFile("hooli", (WRONG,), goes_on=False), RefusedFile("acme", (WRONG,), goes_on=True)]
    await inside.commands.pause("globex")
    statuses = inside.commands.statuses
    found = await statuses.glance()
    assert [(one.id, one.state) for one in found] == [
        ("acme", State.IDLE),
        ("globex", State.PAUSED),
        ("hooli", State.REFUSED),
        ("initech", State.DISABLED),
    ]
    assert [one.tenant.id if one.tenant else None for one in found] == ["acme", "globex", None, "initech"]
    assert found == list(statuses.members())
    assert [one.id for one in await statuses.of(["acme", "globex", "hooli", "initech"])] == [one.id for one in found]


async def test_ids_are_sorted_again_only_when_they_change(inside: Inside) -> None:
    statuses = inside.commands.statuses
    assert [one.id for one in statuses.members()] == ["acme", "globex"]
    before = statuses._ids
    assert before == ("acme", "globex")
    assert list(statuses.members())
    assert statuses._ids is before
    inside.supervisor.add(tenant("dunder"))
    inside.supervisor.remove("globex")
    assert [one.id for one in statuses.members()] == ["acme", "dunder"]


async def test_files_with_errors_are_a_verdict_with_their_fixes(inside: Inside) -> None:
    inside.files.refused = [
        RefusedFile("hooli", (WRONG, WRONG), goes_on=False),
        RefusedFile("acme", (WRONG,), goes_on=True),
    ]
    hooli, acme = await inside.commands.statuses.of(["hooli", "acme"])
    assert hooli.verdict is not None
    assert (hooli.verdict.trouble, hooli.verdict.severity) == (Trouble.REFUSED, Severity.CRITICAL)
    assert hooli.verdict.sentence == "hooli does not run: 2 problems in its files."
    assert hooli.verdict.fixes == (WRONG.fix,)
    assert acme.verdict is not None
    assert acme.verdict.severity is Severity.WARNING
    assert acme.verdict.sentence == "acme runs with its last good settings: 1 problem in its files."
    assert hooli.verdict.reason != acme.verdict.reason
