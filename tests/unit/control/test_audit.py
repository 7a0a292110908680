import httpx
import pytest
from starlette.requests import Request
from structlog.testing import capture_logs

from adsyncd.control.audit import recorded
from adsyncd.control.peer import Peer, note
from adsyncd.errors import CommandRefused, Stopping, StoreError
from support.control import Inside


async def test_the_record_of_a_command_says_what_became_of_it(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise StoreError("the disk is full")

    with capture_logs() as log:
        await api.post("/v1/tenants/acme/pause")
        await api.post("/v1/tenants/acme/trigger")
        await api.post("/v1/tenants/hooli/pause")
        monkeypatch.setattr(inside.store, "resume", fails)
        await api.post("/v1/tenants/acme/resume")
    commands = [
        (entry["command"], entry["outcome"], entry.get("error", "").partition(";")[0])
        for entry in log
        if entry["event"] == "command"
    ]
    assert commands == [
        ("pause", "done", ""),
        ("trigger", "refused", "acme is paused"),
        ("pause", "refused", 'there is no tenant "hooli"'),
        ("resume", "failed", "the disk is full"),
    ]


@pytest.mark.parametrize(
    ("error", "outcome", "words"),
    [
        (CommandRefused("acme is paused", "resume it first"), "refused", "acme is paused; resume it first"),
        (Stopping("stops"), "refused", "stops"),
        (StoreError("the disk is full"), "failed", "the disk is full"),
        (ValueError("a bug"), "failed", "ValueError('a bug')"),
        (KeyboardInterrupt(), "cut short", None),
    ],
)
def test_each_end_of_a_command_has_its_line(error: BaseException, outcome: str, words: str | None) -> None:
    request = Request({"type": "http"})
    note(request.scope, Peer(7, 8, 9))
    with capture_logs() as log, pytest.raises(type(error)), recorded(request, "pause", "acme"):
        raise error
    [entry] = log
    assert (entry["command"], entry["tenant"], entry["outcome"], entry.get("error")) == (
        *("pause", "acme"),
        *(outcome, words),
    )
    assert (entry["peer_pid"], entry["peer_uid"], entry["peer_gid"]) == (7, 8, 9)


def test_a_command_to_the_daemon_names_no_tenant() -> None:
    with capture_logs() as log, recorded(Request({"type": "http"}), "reload"):
        pass
    assert log == [{"event": "command", "command": "reload", "outcome": "done", "log_level": "info"}]
