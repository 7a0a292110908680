"""What a reload changed, or would change, in lines."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from adsyncd.cli.status_view import silence
from adsyncd.errors import Problem
from adsyncd.model.status import RefusedFile, Reloaded, ReloadPreview, listed

_MOST = 20


def reload_lines(reloaded: Reloaded, now: datetime) -> Iterator[str]:
    """Yield what a reload changed, and what is wrong."""
    yield from _problems(reloaded.refused, reloaded.ignored, reloaded.restart)
    yield from _names({"added": reloaded.added, "changed": reloaded.changed, "removed": reloaded.removed})
    for one in reloaded.silent:
        yield silence(one.tenant, one.until, now)
    yield f"{len(reloaded.unchanged)} unchanged, {len(reloaded.refused)} refused, in {reloaded.took_s:.1f} s"


def preview_lines(preview: ReloadPreview) -> Iterator[str]:
    """Yield what a reload would change, and what is wrong."""
    yield from _problems(preview.refused, preview.ignored, preview.restart)
    yield from _names({"would add": preview.added})
    for tenant, keys in [*preview.changed.items()][:_MOST]:
        yield f"would change: {tenant} ({', '.join(keys)})"
    if len(preview.changed) > _MOST:
        yield f"would change: {len(preview.changed) - _MOST} more"
    yield from _names({"would remove": preview.removed})
    yield f"{preview.unchanged} unchanged, {len(preview.refused)} refused; nothing was applied"


def _names(of: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for what, tenants in of.items():
        if tenants:
            yield f"{what}: {listed(tenants, most=_MOST)}"


def _problems(refused: Sequence[RefusedFile], ignored: Sequence[Problem], restart: Sequence[str]) -> Iterator[str]:
    for refusal in refused:
        yield from map(str, refusal.problems)
    for one in ignored:
        yield f"warning: {one}"
    if restart:
        yield f"needs a restart: {', '.join(restart)}"
