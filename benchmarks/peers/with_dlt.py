"""Lists campaigns by dlt's rest_api source, into SQLite: `python with_dlt.py TASK`; see `Task` of the benchmark.

A resource for each tenant, as https://dlthub.com/docs/dlt-ecosystem/verified-sources/rest_api/basic describes it. dlt
retries a 429 as told by Retry-After, and has no setting for a quota.
"""

import json
import os
import sys
from functools import partial
from typing import Any

os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}

import dlt
from dlt.sources.helpers import requests
from dlt.sources.rest_api import rest_api_source

task = json.loads(sys.argv[1])


def of_tenant(tenant: str, campaign: dict[str, Any]) -> dict[str, Any]:
    return {**campaign, "tenant": tenant}


signed_in = requests.post(f"{task['base_url']}/auth/token", auth=(task["email"], task["password"]))
source = rest_api_source(
    {
        "client": {
            "base_url": task["base_url"],
            "auth": {"type": "bearer", "token": signed_in.json()["access_token"]},
            "paginator": {
                "type": "page_number",
                "base_page": 1,
                "page_param": "page",
                "total_path": None,
                "has_more_path": "pagination.has_more",
            },
        },
        "resources": [
            {
                "name": tenant,
                "table_name": "campaigns",
                "primary_key": ["tenant", "id"],
                "write_disposition": "merge",
                "endpoint": {
                    "path": "api/campaigns",
                    "params": {"limit": task["page_size"]},
                    "headers": {"X-Client-ID": client_id},
                    "data_selector": "data",
                },
                "processing_steps": [{"map": partial(of_tenant, tenant)}],
            }
            for tenant, client_id in task["tenants"].items()
        ],
    }
)
pipeline = dlt.pipeline(
    pipeline_name="campaigns",
    pipelines_dir=f"{task['folder']}/dlt",
    destination=dlt.destinations.sqlalchemy(f"sqlite:///{task['folder']}/dlt.db"),
    dataset_name="ads",
)
pipeline.run(source)
print(sum(pipeline.last_trace.last_normalize_info.row_counts[table] for table in ["campaigns"]))
