"""The contenders of `throughput` and `journal`, each doing the same job in a process of its own.

`python -m benchmarks.contenders bare|adsyncd|forgetful|raw JOB`, with the fields of a `Job` as JSON, prints as JSON
the seconds and CPU seconds from before the first request until after the last response.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import anyio

from adsyncd.config import load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.daemon import open_parts
from adsyncd.errors import StoreError
from adsyncd.host import event_loop
from adsyncd.model.campaign import Page, Push, PushState
from adsyncd.model.run import Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store
from benchmarks.bare import bare
from benchmarks.config import ENVIRON, FROM_ENVIRON, tenant_ids, write_config
from benchmarks.job import CONCURRENCY, PAGE_SIZE, Job, Quota, Spent, timed
from benchmarks.processes import lines, started
from benchmarks.raw import raw

_AMPLE = Quota(1_000_000, 1)


def turn(contender: str, job: Job, environ: Mapping[str, str]) -> Spent:
    """Return what a job costs a contender, in a fresh process."""
    with started("benchmarks.contenders", contender, json.dumps(asdict(job)), environ=environ) as process:
        *warnings, last = lines(process)
    assert last.startswith('{"wall_s"'), "".join([*warnings, last])  # it crashed
    return Spent(**json.loads(last))


async def adsyncd(job: Job) -> Spent:
    """Do the job with the daemon's parts."""
    quota = job.quota or _AMPLE
    push = PushPolicy.CHANGED if job.unchanged else PushPolicy.ALL
    with TemporaryDirectory() as folder:
        config = write_config(
            Path(folder),
            job.base_url,
            dict.fromkeys(tenant_ids(job.tenants), ""),
            store=job.store,
            more=f'ca_file = "{job.ca_file}"' if job.ca_file else "",
            defaults=f"""
{FROM_ENVIRON}
quota = {{ requests = {quota.requests}, per = "{quota.per_s}s" }}
sync = {{ page_size = {PAGE_SIZE}, concurrency = {CONCURRENCY}, timeout = "60s", push = "{push}" }}
""",
        )
        os.environ.update(ENVIRON)
        spent = await run_all(config, job.campaigns)
        return await run_all(config, 0) if job.unchanged else spent


async def run_all(config: Path, to_push: int) -> Spent:
    """Run all tenants once, as a daemon does that has just started; each must push `to_push` campaigns."""
    settings = load_settings(config, os.environ)
    async with open_parts(settings, os.environ, "warning") as parts:
        tenants = read_tenants(settings).good
        for tenant in tenants.values():
            parts.supervisor.add(tenant)

        async def work() -> None:
            async with anyio.create_task_group() as runs:
                for tenant_id in tenants:
                    parts.supervisor.tick(runs, tenant_id, parts.clock.now())

        spent = await timed(work)
        done = await parts.store.runs(None, len(tenants))
        assert [run.pushed for run in done] == [to_push] * len(tenants), done
        assert not any(run.refused for run in done), done
    return spent


async def forgetful(job: Job) -> Spent:
    """Do the job as `adsyncd` does, but without a journal: only a run's start and end are recorded."""

    async def keep_page(_store: Store, _run: Run, page: Page, _policy: PushPolicy) -> list[Push]:
        return [Push(campaign.id, PushState.PENDING) for campaign in page.campaigns]

    async def forget(_store: Store, *_what: object, **_more: object) -> None: ...

    def ignore(_store: Store, *_what: object) -> None: ...

    def settle(_store: Store, _run: Run, _push: Push, recorded: Callable[[StoreError | None], None]) -> None:
        recorded(None)

    with patch.multiple(Store, keep_page=keep_page, settle=settle, claim_permits=forget, note_permits=ignore):
        return await adsyncd(job)


def main() -> None:
    fields = json.loads(sys.argv[2])
    job = Job(**fields | {"quota": Quota(**fields["quota"]) if fields["quota"] else None})
    contender = {"bare": bare, "adsyncd": adsyncd, "forgetful": forgetful, "raw": raw}[sys.argv[1]]
    run = anyio.run if contender is bare else event_loop.run
    print(json.dumps(asdict(run(contender, job))))


if __name__ == "__main__":
    main()
