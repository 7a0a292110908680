import errno
import os
import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from adsyncd.config import Settings
from adsyncd.config.dropins import Tenants, read_tenants
from adsyncd.errors import Problem
from adsyncd.model.tenant import Cron, Every, PushPolicy
from adsyncd.rate.quota import Quota
from support.dropins import ACME, Folders


def test_tenants_are_read_by_file_name_in_its_order(folders: Folders) -> None:
    for name in ("b", "c", "a"):
        folders.write(f"low/{name}.toml", ACME)
    tenants = folders.read()
    assert list(tenants.good) == ["a", "b", "c"]
    assert tenants.good["b"].id == "b"
    assert tenants.good["b"].platform.base_url == "https://ads"
    assert tenants.problems == []


def test_a_later_directory_replaces_the_file_of_the_same_name(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME + "enabled = false\nsync.page_size = 5")
    folders.write("high/acme.toml", ACME)
    tenant = folders.read().good["acme"]
    assert (tenant.enabled, tenant.sync.page_size) == (True, 10)


def test_a_bad_file_in_a_later_directory_does_not_let_the_earlier_one_through(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME)
    path = folders.write("high/acme.toml", "")
    path.write_text("client_id =")
    assert folders.problem().path == path


@pytest.mark.parametrize("how", ["empty", "link"])
def test_an_empty_file_or_a_link_to_dev_null_masks_the_tenant_with_its_overrides(folders: Folders, how: str) -> None:
    folders.write("low/acme.toml", ACME)
    folders.write("low/acme.toml.d/10.toml", "nonsense")
    if how == "empty":
        folders.write("high/acme.toml", "")
    else:
        (folders.high / "acme.toml").symlink_to(os.devnull)
    told = "is empty, so there is no tenant acme; write it; to mask it on purpose, link it to /dev/null"
    found = folders.read()
    assert [str(one) for one in found.ignored] == [f"{folders.high}/acme.toml: {told}"] * (how == "empty")
    assert (found.good, found.bad, found.directories) == ({}, {}, [])


def test_overrides_are_laid_over_key_by_key_in_the_order_of_their_names(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME + "[sync]\npage_size = 5\nconcurrency = 2\n")
    folders.write("low/acme.toml.d/20-b.toml", "sync.page_size = 7\nsync.push = 'changed'")
    folders.write("high/acme.toml.d/10-a.toml", "enabled = false\nsync.page_size = 6")
    tenant = folders.read().good["acme"]
    assert tenant.enabled is False
    assert (tenant.sync.page_size, tenant.sync.concurrency, tenant.sync.push) == (7, 2, PushPolicy.CHANGED)


def test_an_override_of_a_later_directory_replaces_or_masks_the_one_of_the_same_name(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME)
    for name, key in [("10.toml", "page_size"), ("20.toml", "concurrency")]:
        folders.write(f"low/acme.toml.d/{name}", f"sync.{key} = 1")
    folders.write("high/acme.toml.d/10.toml", "sync.page_size = 2")
    (folders.high / "acme.toml.d" / "20.toml").symlink_to(os.devnull)
    tenant = folders.read().good["acme"]
    assert (tenant.sync.page_size, tenant.sync.concurrency) == (2, 5)


def test_overrides_without_a_tenant_are_of_no_account_and_told(folders: Folders) -> None:
    for place in ("low/acme.toml.d/10.toml", "low/acme.toml.d/20.toml", "high/acme.toml.d/20.toml"):
        folders.write(place, "nonsense")
    fix = "write acme.toml, or rename it after an existing drop-in"
    places = (folders.high / "acme.toml.d", folders.low / "acme.toml.d")
    ignored = [Problem(place, None, None, "overrides no drop-in", fix) for place in places]
    assert folders.read() == Tenants({}, {}, [], ignored=ignored)


def test_defaults_lie_beneath_all_files(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME + "[sync]\npage_size = 5\n")
    defaults = {
        "schedule": {"every": "1h"},
        "sync": {"page_size": 1, "concurrency": 2},
        "quota": {"requests": 1, "per": "2s"},
    }
    tenant = folders.read(defaults=defaults).good["acme"]
    assert tenant.schedule == Every(timedelta(hours=1))
    assert (tenant.sync.page_size, tenant.sync.concurrency) == (5, 2)
    assert tenant.quota == Quota(1, timedelta(seconds=2))


def test_what_states_one_kind_of_several_is_replaced_as_a_whole(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME)
    folders.write("low/acme.toml.d/10.toml", 'schedule = { cron = "0 4 * * *" }\ncredentials = { vault = "a" }')
    vault = {"address": "https://v", "auth": {"method": "token", "token": {"env": "T"}}}
    tenant = folders.read(defaults={"schedule": {"every": "1h"}}, vault=vault).good["acme"]
    assert tenant.schedule == Cron("0 4 * * *", "UTC")


def test_one_bad_file_stops_no_other(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME)
    folders.write("low/bad.toml", "client_id =")
    folders.write("low/worse.toml", ACME + "enabled = 5\n[sync]\npage_size = 0")
    tenants = folders.read()
    assert list(tenants.good) == ["acme"]
    assert list(tenants.bad) == ["bad", "worse"]
    told = [(problem.line, problem.key) for problem in tenants.problems]
    assert told == [(1, None), (4, "enabled"), (6, "sync.page_size")]


def test_a_problem_points_to_the_file_and_line_that_the_key_came_from(folders: Folders) -> None:
    main = folders.write("low/acme.toml", ACME + "[sync]\npage_size = 0\nconcurrency = 0\n")
    override = folders.write("low/acme.toml.d/10.toml", "# a comment\nsync.page_size = 2000\nsync.pagesize = 1")
    assert [(problem.path, problem.line, problem.key) for problem in folders.read().problems] == [
        (main, 6, "sync.concurrency"),
        (override, 2, "sync.page_size"),
        (override, 3, "sync.pagesize"),
    ]


def test_a_missing_key_is_a_problem_of_the_tenants_own_file(folders: Folders) -> None:
    path = folders.write("low/acme.toml", ACME.replace("client_id", "clientid"))
    folders.write("low/acme.toml.d/10.toml", "enabled = false")
    assert folders.read().problems == [
        Problem(path, None, "client_id", "is missing", 'add client_id = "acme"'),
        Problem(path, 1, "clientid", "unknown key", 'did you mean "client_id"?'),
    ]


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        (ACME + 'schedule = { cron = "99 * * * *" }', 4, "schedule", "99"),
        (ACME + 'schedule = { cron = "* * * * someday" }', 4, "schedule", "someday"),
        (ACME + 'schedule = { cron = "* * * * *", timezone = "Europe/Belin" }', 4, "schedule", "Europe/Belin"),
        (ACME.replace("mixo", "mixxo"), 2, "platform", 'unknown platform "mixxo".*known platforms are mixo'),
        (ACME.replace('env = "ACME"', 'vault = "acme"'), 3, "credentials.vault", r"add \[vault\] to the settings"),
    ],
)
def test_a_value_that_means_nothing_is_a_problem(folders: Folders, text: str, line: int, key: str, words: str) -> None:
    folders.write("low/acme.toml", text)
    problem = folders.problem()
    assert (problem.line, problem.key) == (line, key)
    assert re.search(words, f"{problem.what} {problem.fix}")


def test_a_bad_crontab_of_the_defaults_is_called_theirs(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME)
    assert folders.problem(defaults={"schedule": {"cron": "99 * * * *"}}).key == "defaults.schedule"


def test_tenants_of_one_client_id_share_a_quota_and_must_state_the_same(folders: Folders) -> None:
    quota = 'quota = { requests = %d, per = "60s" }'
    folders.write("low/a.toml", ACME + quota % 20)
    folders.write("low/b.toml", ACME + quota % 20)
    folders.write("low/c.toml", ACME + quota % 30)
    folders.write("low/d.toml", ACME.replace('client_id = "acme"', 'client_id = "other"') + quota % 30)
    problem = folders.problem("c")
    assert (problem.line, problem.key) == (4, "quota")
    assert 'tenant "a"' in problem.what


def test_a_bad_tenant_does_not_bind_the_next_of_its_client_id(folders: Folders) -> None:
    folders.write("low/a.toml", ACME + 'quota = { requests = 1, per = "1s" }\nschedule = { cron = "99 * * * *" }')
    folders.write("low/b.toml", ACME)
    assert list(folders.read().good) == ["b"]


@pytest.mark.parametrize("name", ["ACME", "acme_eu", "-acme", "a.b", "a" * 64, "acme (copy)", "é", "a\n"])
def test_a_file_name_that_is_no_id_is_a_problem(folders: Folders, name: str) -> None:
    path = folders.write(f"low/{name}.toml", ACME)
    problem = folders.problem(name)
    assert (problem.path, problem.what) == (path, "its name is not a valid tenant id")


def test_a_file_name_that_is_no_utf_8_is_a_problem_that_can_be_printed(folders: Folders) -> None:
    Path(os.fsdecode(os.fsencode(folders.low) + b"/\xff.toml")).write_text(ACME)
    assert str(folders.problem("?")).encode()


@pytest.mark.parametrize("name", [".acme.toml", ".#acme.toml", "acme.toml~", "acme.toml.swp", "acme.toml.bak", "4913"])
def test_what_editors_leave_behind_is_ignored(folders: Folders, name: str) -> None:
    folders.write(f"low/{name}", "nonsense")
    folders.write(f"low/acme.toml.d/{name}", "nonsense")
    folders.write("low/acme.toml", ACME)
    assert list(folders.read().good) == ["acme"]
    assert folders.read().problems == []


def test_what_is_no_regular_file_is_a_problem_and_blocks_nothing(folders: Folders) -> None:
    (folders.low / "folder.toml").mkdir()
    os.mkfifo(folders.low / "pipe.toml")
    (folders.low / "loop.toml").symlink_to("loop.toml")
    (folders.low / "nowhere.toml").symlink_to("none.toml")
    folders.write("low/acme.toml", ACME)
    tenants = folders.read()
    assert list(tenants.good) == ["acme"]
    assert {tenant_id: problem.what for tenant_id, [problem] in tenants.bad.items()} == dict.fromkeys(
        ["folder", "loop", "nowhere", "pipe"], "is not a regular file"
    )


def test_a_drop_in_of_a_megabyte_is_refused_by_its_size_and_one_within_the_limit_by_a_screenful_of_problems(
    folders: Folders,
) -> None:
    folders.write("low/large.toml", "".join(f"a{number}.b.c.d.e.f.g = 1\n" for number in range(50_000)))
    assert folders.problem("large").what == "is larger than 64 KiB, the limit"
    folders.write("low/large.toml", "".join(f"a{number}.b.c.d.e.f.g = 1\n" for number in range(2_500)))
    problems = folders.read().bad["large"]
    assert len(problems) == 51
    more = Problem(folders.low / "large.toml", None, None, "has 2453 more problems", "check that it is the right file")
    assert problems[0] == more


def test_a_link_may_lead_to_a_file_in_its_own_folder_alone(folders: Folders) -> None:
    folders.write("low/..data/acme.toml", ACME)  # as Kubernetes mounts them
    (folders.low / "acme.toml").symlink_to("..data/acme.toml")
    (folders.low / "out.toml").symlink_to(folders.write("elsewhere.toml", ACME))
    tenants = folders.read()
    assert list(tenants.good) == ["acme"]
    assert [problem.what for problem in tenants.bad["out"]] == ["is a link to a file outside of its folder"]


@pytest.mark.parametrize("content", [b"\xff", b"a = " + b"[" * 100_000, b"#" * 2_000_000])
def test_content_that_cannot_be_read_rejects_the_tenant_wherever_it_is(folders: Folders, content: bytes) -> None:
    folders.write("low/acme.toml", ACME)
    override = folders.write("low/acme.toml.d/10.toml", "")
    override.write_bytes(content)
    assert folders.problem().path == override


def test_an_override_folder_that_is_none_rejects_the_tenant(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME)
    path = folders.write("low/acme.toml.d", "")
    assert (folders.problem().path, folders.problem().what) == (path, "can't be read: Not a directory")


def test_a_directory_that_may_be_listed_but_not_searched_rejects_the_tenants_in_it(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:  # these tests may run as root, which may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    path = folders.write("low/acme.toml", ACME)
    monkeypatch.setattr(Path, "is_file", refuse)
    assert (folders.problem().path, folders.problem().what) == (path, "can't be read: Permission denied")


def test_a_missing_directory_is_fine_as_long_as_one_exists(folders: Folders) -> None:
    folders.write("high/acme.toml", ACME)
    folders.low.rmdir()
    assert list(folders.read().good) == ["acme"]
    assert folders.read().directories == []


def test_no_directory_at_all_is_a_problem_and_so_is_one_that_cannot_be_read(folders: Folders) -> None:
    folders.low.rmdir()
    folders.high.rmdir()
    [missing] = folders.read().directories
    assert missing.key == "tenants_dirs"
    assert str(folders.low) in missing.what
    folders.low.write_text("a file")
    [unreadable] = folders.read().problems
    assert (unreadable.path, unreadable.what) == (folders.low, "can't be read: Not a directory")


def test_the_example_drop_ins_are_valid(tmp_path: Path) -> None:
    examples = shutil.copytree(
        Path(__file__).parents[3] / "tenants", tmp_path / "tenants"
    )  # the tree may belong to another user
    settings = {
        "tenants_dirs": [str(examples)],
        "platforms": {"mixo": {"base_url": "https://ads"}},
        "vault": {"address": "https://v", "auth": {"method": "token", "token": {"env": "T"}}},
    }
    tenants = read_tenants(Settings.model_validate(settings))
    assert tenants.problems == []
    assert list(tenants.good) == sorted(path.stem for path in examples.glob("*.toml"))
    assert tenants.good["globex"].quota == Quota(50, timedelta(seconds=60))


# Who may change them


@pytest.mark.parametrize("bad", ["low/acme.toml", "low/acme.toml.d/10.toml", "low/acme.toml.d"])
def test_files_and_folders_that_others_may_change_reject_their_tenant(folders: Folders, bad: str) -> None:
    folders.write("low/acme.toml", ACME)
    folders.write("low/acme.toml.d/10.toml", "enabled = false")
    folders.write("low/globex.toml", ACME)
    path = folders.low.parent / bad
    path.chmod(0o777)
    problem = folders.problem()
    assert (problem.path, problem.fix) == (path, f"chmod go-w {path}")
    path.chmod(0o755)
    assert list(folders.read().good) == ["acme", "globex"]


def test_a_directory_that_others_may_change_is_a_problem_and_of_no_account(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME)
    folders.write("high/globex.toml", ACME)
    folders.low.chmod(0o777)
    tenants = folders.read()
    assert list(tenants.good) == ["globex"]
    assert [problem.fix for problem in tenants.directories] == [f"chmod go-w {folders.low}"]


def test_of_a_volume_of_kubernetes_the_link_to_its_data_can_be_named(folders: Folders) -> None:
    folders.write("low/..1/acme.toml", ACME)
    (folders.low / "..data").symlink_to("..1")
    folders.low.chmod(0o777)
    assert list(folders.read(tenants_dirs=[str(folders.low / "..data")]).good) == ["acme"]


def test_an_empty_file_that_others_may_change_masks_nobody(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME)
    path = folders.write("high/acme.toml", "")
    path.chmod(0o666)
    assert folders.problem().path == path
