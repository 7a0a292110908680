"""The lists of the real daemon, over its real socket: what a page asks of all tenants."""

from datetime import timedelta
from typing import Any

import anyio
import httpx

from adsyncd.clock import SystemClock
from support.platform import Platform
from support.program import Program


async def until(api: httpx.AsyncClient, path: str, holds: Any) -> Any:  # noqa: ANN401 - JSON
    """Ask until an answer is as expected, and return it: the overview is read beside all else."""
    with anyio.fail_after(60):
        while True:
            answer = await api.get(path)
            assert answer.status_code == 200, answer.text
            if holds(answer.json()):
                return answer.json()
            await anyio.sleep(0.2)  # between two questions


async def test_each_list_answers_of_the_real_daemon(program: Program, platform: Platform) -> None:
    program.tenant("acme")
    program.tenant("globex", quota={"requests": 5, "per": "1h"}, sync={"run_deadline": "1d"})
    async with program.daemon() as daemon:
        await daemon.logs("run ended")  # of acme
        await platform.reach_effects("globex", 4)
    async with (  # which shows at its start what was before
        program.daemon() as daemon,
        program.control() as api,
    ):
        await daemon.logs("ready", times=2)
        (await api.post("/v1/tenants/acme/pause")).raise_for_status()
        waiting = await until(api, "/v1/tenants?state=waiting", len)
        assert [one["id"] for one in waiting] == ["globex"]
        worst = await until(api, "/v1/tenants?sort=worst", lambda found: found[0]["verdict"])
        assert (worst[0]["id"], worst[0]["verdict"]["trouble"]) == ("acme", "paused")
        first = await api.get("/v1/tenants?limit=1")
        second = await api.get(first.links["next"]["url"])
        assert [one["id"] for one in (*first.json(), *second.json())] == ["acme", "globex"]
        again = await api.get("/v1/alerts", headers={"if-none-match": (await api.get("/v1/alerts")).headers["etag"]})
        assert again.status_code == 304
        history = await until(api, "/v1/history?bucket=1d", lambda found: any(one["pushed"] for one in found))
        assert sum(one["runs_succeeded"] for one in history) >= 1
        since = (SystemClock().now() + timedelta(days=1)).isoformat()
        assert (await api.get("/v1/history", params={"since": since})).json() == []
        quotas = await until(api, "/v1/quotas", lambda found: len(found["tenants"]) == 2)
        assert {one["tenant"]: one["quota"] for one in quotas["tenants"]}["globex"] == "5 requests per 1h"
        runs = (await api.get("/v1/runs?limit=1")).links["next"]["url"]
        assert len((await api.get(runs)).json()) == 1
        assert (await api.get("/v1/dead-letters?group=reason")).json() == []
        assert len((await api.get("/v1/plan")).json()["tenants"]) == 2
        for one in ("/v1/tenants", "/v1/runs", "/v1/quotas", "/v1/alerts", "/v1/dead-letters"):
            assert (await api.get(f"{one}?after=nonsense")).status_code == 409
