"""What the real daemon's runs did not push, and why, as `runs show` and the control socket say it after other runs."""

from support.platform import Platform
from support.program import Program

REFUSED = ["cmp-0002", "cmp-0005", "cmp-0007"]
REASON = "the platform answered 422: Unprocessable Entity this campaign can't be synced"


async def test_the_first_run_and_the_latest_both_say_what_was_refused_and_why(
    program: Program, platform: Platform
) -> None:
    await platform.treat(rejected=REFUSED)
    program.tenant("acme", schedule={"every": "1s"})
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        runs = await program.ended("acme", 4)
        first, latest = runs[-1], runs[0]
        shown = [await program.ask("runs", "show", run["run_id"]) for run in (first, latest)]
        async with program.control() as http:
            answered = (await http.get(f"/v1/tenants/acme/runs/{latest['run_id']}")).raise_for_status().json()
    for run, details in zip((first, latest), shown, strict=True):
        assert {key: details["run"][key] for key in run} == run
        assert (run["outcome"], run["dead_lettered"], details["more"]) == ("partial", 3, 0)
        lost = sorted(details["unpushed"], key=lambda one: str(one["campaign_id"]))
        assert [one["campaign_id"] for one in lost] == REFUSED
        assert {(one["state"], one["reason"], one["attempts"]) for one in lost} == {("dead_lettered", REASON, 1)}
    # Since when they are dead letters stays, too.
    assert shown[0]["unpushed"] == shown[1]["unpushed"]
    assert answered["unpushed"] == [
        {**one, "since": one["since"].replace("+00:00", "Z")} for one in shown[1]["unpushed"]
    ]
    said = (await program.run("runs", "show", first["trace_id"])).stdout.decode()
    assert all(f"{campaign_id} " in said and REASON in said for campaign_id in REFUSED), said
