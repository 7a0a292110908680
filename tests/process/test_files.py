"""What `check` says of files, and what a reload of the real daemon does with them: named, ignored, emptied."""

import json

from support.program import Program

PORT, HOST = "has a port that is not one of 1 to 65535", "has no valid host"
BAD_ADDRESSES = {
    "http://127.0.0.1:99999": PORT,
    "http://127.0.0.1:0": PORT,
    "http://127.0.0.1:eighty": PORT,
    "http://ads.example.com/#x": "must not have a fragment",
    "http://ads.example.com/api?x=1": "must not have a query: adsyncd appends paths",
    "http://[::1": HOST,
    "http://[::1]x": HOST,
    "http://[::1]]:80": HOST,
    "http://[12345::]": HOST,
    "http://[v1.a]": HOST,
    "http://::1": HOST,
    "http://2001:db8::1/api": HOST,
    "http://256.1.1.1": HOST,
    "http://ads..example.com": HOST,
    "http:///api": "has no host",
    "http://ads example.com": "has a space or another character that no address has",
    "ads.example.com": "expected an address that begins with https:// or http://",
}


async def test_check_says_each_thing_that_keeps_the_daemon_from_starting_or_a_file_from_counting(
    program: Program,
) -> None:
    folder = program.folder / "tenants.d"
    program.settings(
        "http://127.0.0.1:1?x=1",
        tenants_dirs=[str(folder)],
        control={"socket": str(program.folder / "control.sock"), "group": "no-such-group"},
        page={"socket": str(program.folder / "gone" / "page.sock")},
    )
    said = (await program.run("check")).stdout.decode()
    assert "platforms.mixo.base_url: must not have a query: adsyncd appends paths" in said

    program.settings(
        "http://127.0.0.1:1",
        tenants_dirs=[str(folder), str(program.folder / "more.d")],
        control={"socket": str(program.folder / "control.sock"), "group": "no-such-group"},
        page={"socket": str(program.folder / "gone" / "page.sock")},
    )
    program.tenant("acme")
    program.tenant("never", schedule={"cron": "0 0 30 2 *"})
    (folder / "globex.Toml").write_text("")
    (folder / "initech.d").mkdir()
    (folder / "acme.toml.d").mkdir()
    (folder / "acme.toml.d" / "2.conf").write_text("enabled = false\n")
    (folder / "empty.toml").write_text("")
    checked = await program.run("check", "--json")
    assert checked.returncode == 1
    told = {(one["severity"], str(one["path"]).rpartition("/")[2], one["what"]) for one in json.loads(checked.stdout)}
    assert told >= {
        ("error", "never.toml", "names a date that never comes"),
        ("error", "None", 'there is no group "no-such-group"'),
        ("error", "None", f"there is no directory {program.folder}/gone"),
        ("warning", "globex.Toml", "is ignored"),
        ("warning", "initech.d", "is ignored"),
        ("warning", "2.conf", "is ignored"),
        ("warning", "empty.toml", "is empty, so there is no tenant empty"),
        ("warning", "more.d", "is not there"),
    }
    refused = await program.run("run")
    assert refused.returncode == 78
    assert b'there is no group "no-such-group"' in refused.stderr


async def test_a_reload_names_its_tenants_and_a_dry_run_tells_before(program: Program) -> None:
    for name in ("acme", "globex", "initech"):
        program.tenant(name, enabled=name != "initech")
    async with program.daemon() as daemon:
        await daemon.logs("run ended", times=2)
        acme = program.folder / "tenants.d" / "acme.toml"
        acme.write_text("")
        program.tenant("globex", sync={"page_size": 7}, quota={"requests": 500, "per": "60s"})
        program.tenant("initech")
        program.settings("http://127.0.0.1:1", alerts={"webhook": "http://127.0.0.1:1/hook"})
        preview = await program.ask("reload", "--dry-run")
        assert (preview["added"], preview["removed"], preview["restart"]) == (["initech"], ["acme"], ["alerts"])
        assert {"quota", "sync.page_size"} <= set(preview["changed"]["globex"])
        tenants = (await program.ask("status"))["tenants"]
        assert [(one["id"], one["state"]) for one in tenants] == [
            ("acme", "idle"),
            ("globex", "idle"),
            ("initech", "disabled"),
        ]
        assert not daemon.events("file ignored")

        reloaded = await program.run("reload")
        lines = reloaded.stdout.decode().splitlines()
        assert f"warning: {acme}: is empty, so there is no tenant acme; write it; to mask it on purpose, " in lines[0]
        assert {"added: initech", "changed: globex", "removed: acme"} <= set(lines)
        [entry] = [one for one in daemon.events("reloaded") if one["removed"]]
        assert (entry["names_removed"], entry["names_added"], entry["names_changed"]) == ("acme", "initech", "globex")
        [ignored] = daemon.events("file ignored")
        assert (ignored["level"], "is empty" in ignored["problem"]) == ("warning", True)
        assert (await program.run("reload")).returncode == 0
        assert len(daemon.events("file ignored")) == 1  # told once


async def test_check_and_run_name_the_line_of_each_bad_address_and_what_is_wrong_with_it(program: Program) -> None:
    settings = [line for line in program.config.read_text().splitlines() if not line.startswith("platforms = ")]
    settings.append('platforms.good.base_url = "http://[::1]:8080/api/"')
    expected = list[str]()
    for number, (address, wrong) in enumerate(BAD_ADDRESSES.items()):
        settings.append(f'platforms.bad-{number}.base_url = "{address}"')
        expected.append(f"{program.config}:{len(settings)}: platforms.bad-{number}.base_url: {wrong}; ")
    program.config.write_text("\n".join(settings))
    for command, code in (("check", 1), ("run", 78)):
        refused = await program.run(command)
        said = (refused.stdout + refused.stderr).decode()
        assert (refused.returncode, "Traceback" in said) == (code, False), said
        told = [line.removeprefix("error: ") for line in said.splitlines() if str(program.config) in line]
        assert len(told) == len(expected)
        for line, beginning in zip(told, expected, strict=True):
            assert line.startswith(beginning)
            assert len(line) > len(beginning)  # the fix
