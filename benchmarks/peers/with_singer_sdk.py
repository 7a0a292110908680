"""Lists campaigns by a tap of Meltano's SDK for Singer: `python with_singer_sdk.py TASK`; see `Task` of the benchmark.

A partition for each tenant, as https://sdk.meltano.com/en/latest/partitioning.html describes it, and the wait before a
retry from Retry-After, as https://sdk.meltano.com/en/latest/code_samples.html does. It has no setting for a quota.
Records go to standard output, where a target would read them.
"""

import json
import sys
from collections.abc import Generator, Iterable
from functools import cached_property
from typing import Any

import requests
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.pagination import BasePageNumberPaginator
from singer_sdk.streams.rest import HTTPRequest, PageContext

task = json.loads(sys.argv[1])


class Pages(BasePageNumberPaginator):
    def has_more(self, response: requests.Response) -> bool:
        return bool(response.json()["pagination"]["has_more"])


class Campaigns(RESTStream[int]):
    name = "campaigns"
    path = "/api/campaigns"
    url_base = task["base_url"]
    primary_keys = ("tenant", "id")
    records_jsonpath = "$.data[*]"
    state_partitioning_keys = ("tenant",)
    schema = th.PropertiesList(
        th.Property("tenant", th.StringType),
        th.Property("id", th.StringType),
        th.Property("name", th.StringType),
        th.Property("status", th.StringType),
        th.Property("budget", th.NumberType),
        th.Property("impressions", th.IntegerType),
        th.Property("clicks", th.IntegerType),
        th.Property("conversions", th.IntegerType),
        th.Property("created_at", th.DateTimeType),
    ).to_dict()

    @property
    def partitions(self) -> list[dict[str, Any]]:
        return [{"tenant": tenant} for tenant in task["tenants"]]

    @cached_property
    def authenticator(self) -> BearerTokenAuthenticator:
        signed_in = requests.post(
            f"{task['base_url']}/auth/token", auth=(task["email"], task["password"]), timeout=self.timeout
        )
        return BearerTokenAuthenticator(token=signed_in.json()["access_token"])

    def get_new_paginator(self) -> Pages:
        return Pages(start_value=1)

    def get_http_request(self, *, page: PageContext[int]) -> HTTPRequest:
        request = super().get_http_request(page=page)
        request.headers["X-Client-ID"] = task["tenants"][page.stream_context["tenant"]]
        request.params = {"page": page.next_page_token, "limit": task["page_size"]}
        return request

    def backoff_wait_generator(self) -> Generator[float, None, None]:
        return self.backoff_runtime(value=lambda error: int(error.response.headers.get("Retry-After", 1)))


class CampaignsTap(Tap):
    name = "tap-campaigns"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self) -> Iterable[Campaigns]:
        return [Campaigns(self)]


CampaignsTap(config={}).sync_all()
