"""Which files belong to which tenant, and what is said of those that count for nothing."""

from pathlib import Path

import pytest

from adsyncd.config.dropins import read_tenants
from support.dropins import ACME, Folders


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("acme.Toml", "name it acme.toml if it is a tenant's"),
        ("acme", "name it acme.toml if"),
        ("Acme.conf", "name it acme.toml if"),
        ("acme.d/", "name it acme.toml.d if it has overrides of acme.toml"),
        ("acme.toml.d/2.conf", "name it 2.toml, since only overrides that end with .toml count"),
        ("acme.toml~", ""),
        ("acme.toml.example", ""),
        ("acme.toml.dpkg-old", ""),
        ("README", ""),
        ("acme.toml.d/10.toml.disabled", ""),
        (".acme.toml.swp", ""),
    ],
)
def test_what_is_ignored_is_told_with_the_name_that_counts(folders: Folders, name: str, fix: str) -> None:
    folders.write("low/acme.toml", ACME)
    path = folders.low / name
    if name.endswith("/"):
        path.mkdir()
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    found = folders.read()
    assert list(found.good) == ["acme"]
    assert [one.path for one in found.ignored] == [Path(path)] * bool(fix)
    assert all(fix in str(one) for one in found.ignored)


def test_a_file_in_the_place_of_a_folder_of_overrides_is_told(folders: Folders) -> None:
    folders.write("low/acme.toml.d", "")
    [told] = folders.read().ignored
    assert str(told).startswith(f"{folders.low}/acme.toml.d: can't be read: Not a directory")


def test_one_of_several_folders_that_is_not_there_is_told(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME)
    gone = folders.low.parent / "gone"
    found = read_tenants(folders.settings(tenants_dirs=[str(folders.low), str(gone)]))
    assert list(found.good) == ["acme"]
    assert [str(one) for one in found.ignored] == [f"{gone}: is not there; create it, or remove it from tenants_dirs"]


def test_an_empty_override_is_told(folders: Folders) -> None:
    folders.write("low/acme.toml", ACME)
    path = folders.write("low/acme.toml.d/10.toml", "")
    [told] = folders.read().ignored
    assert str(told).startswith(f"{path}: is empty, so it sets nothing")
