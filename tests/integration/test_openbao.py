"""The OpenBao of the demo and the tests: it starts, it ends, and it keeps its keys to itself."""

from pathlib import Path

import pytest

from adsyncd.demo.openbao import OpenBao
from adsyncd.errors import AdsyncdError
from support.vault import private_tls, real_openbao


def folder_of(server: OpenBao) -> Path:
    arguments = Path(f"/proc/{server.process.pid}/cmdline").read_text()
    return Path(arguments.rstrip("\0").partition("-config=")[2]).parent


async def test_with_the_block_the_server_ends_and_its_files_go() -> None:
    async with real_openbao() as server:
        assert (await server.ask("GET", "sys/seal-status"))["sealed"] is False
        folder = folder_of(server)
        assert folder.exists()
    assert server.process.returncode is not None
    assert not folder.exists()


async def test_its_keys_show_neither_in_the_process_table_nor_on_disk() -> None:
    async with real_openbao() as server:
        process = Path(f"/proc/{server.process.pid}")
        places = [process / "cmdline", process / "environ", *folder_of(server).iterdir()]
        shown = b"".join(place.read_bytes() for place in places)
        assert b"inmem" in shown
        for key in (server.root_token, server.unseal_key):
            assert key.get_secret_value().encode() not in shown
            assert key.get_secret_value() not in repr(server)


async def test_a_start_that_fails_is_told_in_the_servers_last_words(tmp_path: Path) -> None:
    tls = private_tls(tmp_path)
    tls.key.unlink()
    with pytest.raises(AdsyncdError, match=r"did not start: [\s\S]*server.key: no such file"):
        async with real_openbao(tls=tls):
            pytest.fail("it started")
