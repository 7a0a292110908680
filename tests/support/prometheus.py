"""A real Prometheus and promtool, and the expressions of the files that are shipped for them."""

import json
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

ROOT = Path(__file__).parents[2]
RULES = ROOT / "prometheus" / "adsyncd.rules.yml"
RULE_TESTS = ROOT / "prometheus" / "adsyncd.rules.test.yml"
DASHBOARD = ROOT / "grafana" / "adsyncd.json"
MISSING = "no Prometheus here: apt-get install prometheus"


def binary(name: str) -> str:
    """Return the path of `prometheus` or `promtool`. Where it is missing, that fails under CI and skips elsewhere."""
    if (found := shutil.which(name)) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that scrapes twice a second."""

    _api: httpx.AsyncClient

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now, each with its labels as `metric` and its `value`."""
        answer = (await self._api.get("/api/v1/query", params={"query": expression})).json()
        assert answer["status"] == "success", f"{expression}: {answer['error']}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    async def values(self, expression: str, label: str = "adsyncd_tenant") -> dict[str, float]:
        """Return the values of an expression now, by a label."""
        return {series["metric"].get(label, ""): float(series["value"][1]) for series in await self.query(expression)}

    async def until(self, expression: str, within_s: float = 60) -> list[dict[str, Any]]:
        """Return the series of an expression as soon as it has some."""
        with anyio.move_on_after(within_s):
            while not (found := await self.query(expression)):  # noqa: ASYNC110 - another process's
                await anyio.sleep(0.1)
            return found
        pytest.fail(f"without a series after {within_s} s: {expression}")

    async def rules(self) -> dict[str, str]:
        """Return the expression of each alert rule, as the server has read it."""
        groups = (await self._api.get("/api/v1/rules")).json()["data"]["groups"]
        return {rule["name"]: rule["query"] for group in groups for rule in group["rules"]}


@asynccontextmanager
async def running_prometheus(folder: Path, target: str) -> AsyncIterator[Prometheus]:
    """Run a Prometheus with our rules that scrapes `target` as the job adsyncd; its data is in `folder`."""
    program, port = binary("prometheus"), free_port()
    settings = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "adsyncd", "static_configs": [{"targets": [target]}]}],
        "rule_files": [str(RULES)],
    }
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(settings))  # which is YAML, too
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        async with await anyio.open_process(command, stdout=log, stderr=log) as process:
            try:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as api:
                    with anyio.fail_after(30):
                        while not await _is_ready(api):  # noqa: ASYNC110 - another process's
                            await anyio.sleep(0.05)
                    yield Prometheus(api)
            finally:
                process.terminate()
                with anyio.CancelScope(shield=True):
                    await process.wait()


async def _is_ready(api: httpx.AsyncClient) -> bool:
    try:
        return (await api.get("/-/ready")).is_success
    except httpx.TransportError:
        return False


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    """Return the title of each panel of the dashboard with each of its expressions, its variables filled in."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in {"$tenant": ".*", "$job": ".*", "$__rate_interval": "30s"}.items():
                expression = expression.replace(name, value)
            assert "$" not in expression
            yield panel["title"], expression


def selectors(expression: str) -> set[str]:
    """Return the selectors of series in an expression, without their ranges."""
    return set(
        re.findall(r"\b(?:adsyncd|process|http|db|up)(?:_\w+)?(?:\{[^}]*\}|\b(?!\())", _without_labels(expression))
    )


def _without_labels(expression: str) -> str:
    """Remove the labels of `by (...)`."""
    return re.sub(r"\bby \([^)]*\)", "", expression)


def grouping_labels(expression: str) -> set[str]:
    """Return the labels of `by (...)`."""
    return {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(",")}
