"""Lists campaigns as a script would, by httpx into SQLite: `python with_httpx.py TASK`; see `Task` of the benchmark."""

import asyncio
import json
import sqlite3
import sys
from typing import Any

import httpx


async def main(task: dict[str, Any]) -> None:
    store = sqlite3.connect(f"{task['folder']}/bare.db")
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("CREATE TABLE IF NOT EXISTS campaigns (tenant, id, listed, PRIMARY KEY (tenant, id))")
    tls = httpx.create_ssl_context()
    async with httpx.AsyncClient(base_url=task["base_url"], verify=tls, trust_env=False) as http:
        signed_in = await http.post("/auth/token", auth=(task["email"], task["password"]))
    headers = {"authorization": f"Bearer {signed_in.json()['access_token']}"}
    async with asyncio.TaskGroup() as tasks:
        for tenant, client_id in task["tenants"].items():
            http = httpx.AsyncClient(
                base_url=task["base_url"], verify=tls, trust_env=False, headers={**headers, "x-client-id": client_id}
            )
            tasks.create_task(sync(http, store, tenant, task["page_size"]))
    store.close()


async def sync(http: httpx.AsyncClient, store: sqlite3.Connection, tenant: str, page_size: int) -> None:
    async with http:
        number, has_more = 1, True
        while has_more:
            answer = await http.get("/api/campaigns", params={"page": number, "limit": page_size})
            page = answer.raise_for_status().json()
            rows = [(tenant, campaign["id"], json.dumps(campaign)) for campaign in page["data"]]
            with store:
                store.executemany("INSERT OR REPLACE INTO campaigns VALUES (?, ?, ?)", rows)
            number, has_more = number + 1, page["pagination"]["has_more"]


asyncio.run(main(json.loads(sys.argv[1])))
