"""A plan as tables and as JSON."""

from dataclasses import asdict

from adsyncd.cli.output import new_console, new_table, seconds, styled, together
from adsyncd.runs.plan import Plan


def plan_as_json(plan: Plan) -> dict[str, object]:
    """Return a plan as `plan --json` prints it; times in seconds, shares as 1 for all."""
    tenants = [_rounded(asdict(tenant)) for tenant in plan.tenants]
    return {"tenants": tenants, "platforms": [_rounded(asdict(platform)) for platform in plan.platforms]}


def print_plan(plan: Plan) -> None:
    """Print a plan as tables of tenants and of platforms, and the fixes below them."""
    tenants = new_table()
    tenants.add_column("tenant", overflow="fold")
    for name in ("campaigns", "requests", "usual", "takes", "due every", "shortest", "of quota"):
        tenants.add_column(name, justify="right", no_wrap=True)
    tenants.add_column("schedule", no_wrap=True)
    for one in plan.tenants:
        tenants.add_row(
            one.tenant,
            f"{one.campaigns}{'' if one.known else '?'}",
            str(one.most_requests),
            "" if one.usual_requests is None else str(one.usual_requests),
            *(seconds(time) or "never" for time in (one.takes_s, one.due_s, one.shortest_s)),
            f"{one.share:.0%}",
            styled("can't be met", "red") if one.fix else styled("can be met", "green"),
        )
    platforms = new_table()
    platforms.add_column("platform", overflow="fold")
    for name in ("tenants", "of quota", "headroom"):
        platforms.add_column(name, justify="right", no_wrap=True)
    for each in plan.platforms:
        shares = ("" if share is None else f"{share:.0%}" for share in (each.share, each.headroom))
        platforms.add_row(each.platform, str(each.tenants), *shares)
    console = new_console()
    for table in (tenants, platforms):
        console.print(table)
    for line in together(plan.fixes.items()):
        console.print(line, style="red", soft_wrap=True)


def _rounded(values: dict[str, object]) -> dict[str, object]:
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()}
