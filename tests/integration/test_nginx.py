"""nginx as docs/operate.md configures it, in front of the page's and the control socket."""

import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from adsyncd.control.access import Access
from adsyncd.control.app import application
from support import page
from support.control import an_inside, refused, served, tenant

MISSING = "no nginx here: apt-get install nginx-light"
[EXAMPLE] = page.blocks(page.read("operate.md"), "nginx")
USER = ("alice", "pw")
HTPASSWD = "alice:{PLAIN}pw\n"
MAIN = """
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {sites}
}}
"""


@asynccontextmanager
async def running_nginx(program: str, folder: Path, control: Path) -> AsyncIterator[str]:
    """Run nginx with the example of the docs, at a free port of this machine without TLS, and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sites = re.sub(r"^\s*ssl_certificate.*$", "", EXAMPLE, flags=re.MULTILINE)
    for before, after in (
        ("/run/adsyncd/control.sock", str(control)),
        ("listen 443 ssl", f"listen 127.0.0.1:{port}"),
        ("/etc/nginx/adsyncd.htpasswd", str(folder / "htpasswd")),
    ):
        assert before in sites
        sites = sites.replace(before, after)
    (folder / "htpasswd").write_text(HTPASSWD)
    main = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""  # its workers have to reach the socket
    main.write_text(user + MAIN.format(folder=folder, sites=sites))
    process = await anyio.open_process([program, "-p", str(folder), "-c", str(main), "-g", "daemon off;"])
    try:
        async with process:
            with anyio.fail_after(20):
                while True:
                    try:
                        await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                        break
                    except OSError:
                        assert process.returncode is None
                        await anyio.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
            process.terminate()
    finally:
        if process.returncode is None:
            process.kill()


@pytest.fixture
def nginx() -> str:
    """The path of nginx."""
    program = shutil.which("nginx")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return program


async def test_the_page_is_served_under_the_proxy_s_name_to_those_whom_it_knows(tmp_path: Path, nginx: str) -> None:
    names = {"ads.example.com"}
    async with an_inside(tmp_path, tenant("acme")) as inside:
        app = Access(application(inside.commands, inside.overview), lambda: names)
        async with (
            served(app, tmp_path / "control.sock"),
            running_nginx(nginx, tmp_path, tmp_path / "control.sock") as address,
            httpx.AsyncClient(base_url=address, headers={"Host": "ads.example.com"}) as browser,
        ):
            assert (await browser.get("/v1/tenants")).status_code == 401
            browser.auth = httpx.BasicAuth(*USER)
            seen = await browser.get("/v1/tenants")
            assert seen.json()[0]["id"] == "acme"
            assert seen.headers["x-content-type-options"] == "nosniff"
            pause = "/v1/tenants/acme/pause"
            refused(await browser.post(pause, headers={"Origin": "https://evil.example"}), 403)
            assert inside.supervisor.worker("acme").status(None).paused_since is None
            ours = {"Origin": "https://ads.example.com", "Sec-Fetch-Site": "same-origin"}
            assert (await browser.post(pause, headers=ours)).status_code == 200
            with_port = {"Host": "ads.example.com:8443", "Origin": "https://ads.example.com:8443"}
            assert (await browser.post("/v1/tenants/acme/resume", headers=with_port)).status_code == 200
            names.clear()
            refused(await browser.get("/v1/tenants"), 421)
