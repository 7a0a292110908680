"""Lists campaigns by airbyte-cdk's declarative source: `python with_airbyte_cdk.py TASK`; see `Task` of the benchmark.

A partition for each tenant, and the quota as an API budget, as in
https://docs.airbyte.com/platform/connector-development/config-based/understanding-the-yaml-file/reference, read by the
command `source-declarative-manifest`. Records go to standard output, where a destination would read them.
"""

import json
import sys
from pathlib import Path

from airbyte_cdk.cli.source_declarative_manifest import run

task = json.loads(sys.argv[1])
matcher = {"type": "HttpRequestRegexMatcher", "url_path_pattern": "^/api/"}
budget = (
    {
        "api_budget": {
            "type": "HTTPAPIBudget",
            "policies": [
                {
                    "type": "MovingWindowCallRatePolicy",
                    "rates": [
                        {"type": "Rate", "limit": task["quota"]["requests"], "interval": f"PT{task['quota']['per_s']}S"}
                    ],
                    "matchers": [matcher],
                }
            ],
        }
    }
    if task["quota"]
    else {}
)
manifest = {
    "version": "7.0.0",
    "type": "DeclarativeSource",
    "check": {"type": "CheckStream", "stream_names": ["campaigns"]},
    "spec": {"type": "Spec", "connection_specification": {"type": "object", "additionalProperties": True}},
    "concurrency_level": {"type": "ConcurrencyLevel", "default_concurrency": 10},
    **budget,
    "streams": [
        {
            "type": "DeclarativeStream",
            "name": "campaigns",
            "primary_key": ["tenant", "id"],
            "schema_loader": {
                "type": "InlineSchemaLoader",
                "schema": {"type": "object", "properties": {}, "additionalProperties": True},
            },
            "retriever": {
                "type": "SimpleRetriever",
                "requester": {
                    "type": "HttpRequester",
                    "url_base": task["base_url"],
                    "path": "/api/campaigns",
                    "http_method": "GET",
                    "request_headers": {"X-Client-ID": "{{ config['client_ids'][stream_partition['tenant']] }}"},
                    "authenticator": {
                        "type": "SessionTokenAuthenticator",
                        "login_requester": {
                            "type": "HttpRequester",
                            "url_base": task["base_url"],
                            "path": "/auth/token",
                            "http_method": "POST",
                            "authenticator": {
                                "type": "BasicHttpAuthenticator",
                                "username": "{{ config['email'] }}",
                                "password": "{{ config['password'] }}",
                            },
                        },
                        "session_token_path": ["access_token"],
                        "expiration_duration": "PT1H",
                        "request_authentication": {"type": "Bearer"},
                    },
                    "error_handler": {
                        "type": "DefaultErrorHandler",
                        "backoff_strategies": [{"type": "WaitTimeFromHeader", "header": "Retry-After"}],
                    },
                },
                "record_selector": {
                    "type": "RecordSelector",
                    "extractor": {"type": "DpathExtractor", "field_path": ["data"]},
                },
                "paginator": {
                    "type": "DefaultPaginator",
                    "pagination_strategy": {
                        "type": "PageIncrement",
                        "page_size": task["page_size"],
                        "start_from_page": 1,
                        "inject_on_first_request": True,
                    },
                    "page_token_option": {
                        "type": "RequestOption",
                        "inject_into": "request_parameter",
                        "field_name": "page",
                    },
                    "page_size_option": {
                        "type": "RequestOption",
                        "inject_into": "request_parameter",
                        "field_name": "limit",
                    },
                },
                "partition_router": {
                    "type": "ListPartitionRouter",
                    "cursor_field": "tenant",
                    "values": list(task["tenants"]),
                },
            },
        }
    ],
}
catalog = {
    "streams": [
        {
            "stream": {"name": "campaigns", "json_schema": {}, "supported_sync_modes": ["full_refresh"]},
            "sync_mode": "full_refresh",
            "destination_sync_mode": "overwrite",
        }
    ]
}
config = {"email": task["email"], "password": task["password"], "client_ids": task["tenants"]}
paths = {name: Path(task["folder"], f"{name}.json") for name in ("manifest", "catalog", "config")}
for name, content in (("manifest", manifest), ("catalog", catalog), ("config", config)):
    paths[name].write_text(json.dumps(content))
options = [option for name in ("config", "catalog") for option in (f"--{name}", str(paths[name]))]
sys.argv[1:] = ["read", *options, "--manifest-path", str(paths["manifest"])]
run()
