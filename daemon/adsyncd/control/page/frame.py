"""What stands around each page: its title, the header with the node and the views, and the search field."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adsyncd.control.page.words import When, about, at, number
from adsyncd.model.status import DaemonStatus


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a navigation. `count`: how many things are behind it, in words."""

    label: str
    href: str
    count: str = ""
    current: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame of a page. `still`: the page is not to be fetched again."""

    title: str
    host: str
    version: str
    up: str
    clock: When
    views: Sequence[Link]
    asked: str = ""
    still: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """A message above a page: what went wrong, or what a command did. `kind`: `bad`, `warn` or `good`."""

    kind: str
    text: str
    fix: str = ""


VIEWS = (("Tenants", "/"), ("Quotas", "/quotas"), ("Failures", "/failures"))


def frame(
    title: str,
    *,
    host: str,
    daemon: DaemonStatus,
    now: datetime,
    current: str = "",
    failures: int | None = None,
    asked: str = "",
    still: bool = False,
) -> Frame:
    """Return the frame of a page. `current`: its view; `failures`: how many dead letters there are."""
    counts = {"Tenants": number(sum(daemon.tenants.values())), "Failures": number(failures) if failures else ""}
    links = [Link(label, href, counts.get(label, ""), label == current) for label, href in VIEWS]
    up = about(now - daemon.since)
    return Frame(f"{title} \N{MIDDLE DOT} adsyncd", host, daemon.version, up, at(now, now), links, asked, still)


def notices(daemon: DaemonStatus, now: datetime) -> list[Notice]:
    """Return what is wrong with the daemon as a whole."""
    found = []
    if daemon.store:
        found.append(Notice("bad", f"The database can't be used: {daemon.store}"))
    if daemon.vault and daemon.vault.error:
        since = at(daemon.vault.since, now).words
        found.append(Notice("bad", f"Vault: {daemon.vault.state} since {since}: {daemon.vault.error}"))
    lost = [f"{signal} ({export.cause})" for signal, export in daemon.telemetry.items() if export.cause is not None]
    if lost:
        found.append(Notice("warn", f"Telemetry is being lost: {', '.join(lost)}"))
    if daemon.stopping:
        found.append(Notice("warn", "The daemon is stopping: it starts no more runs."))
    return found
