import codecs
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.credentials.sources import credentials_of, read_environment, read_systemd, resolve_secret
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from adsyncd.model.tenant import EnvRef, InCredential, InFile, InVariable, SecretPlace, SystemdRef
from support.accounts import an_account
from support.descriptors import exhausted

GOOD = {"email": "ads@acme.example", "password": "canary-password"}
GOOD_JSON = b'{"email": "ads@acme.example", "password": "canary-password"}'
CREDENTIALS = an_account("ads@acme.example", "canary-password")
ACME = EnvRef("ACME")
LOADED = SystemdRef("acme")
SEVERAL = ("refresh_token", "client_id", "client_secret")


class TestCredentials:
    def test_they_show_neither_email_nor_password(self) -> None:
        credentials = credentials_of(GOOD, "here", ACME)
        assert credentials == CREDENTIALS
        assert "acme" not in repr(credentials)
        assert "canary" not in f"{credentials} {credentials!r}"

    def test_keys_beside_email_and_password_are_ignored(self) -> None:
        assert credentials_of({**GOOD, "owner": "sales"}, "here", ACME) == CREDENTIALS

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
    def test_anything_but_an_object_is_refused(self, content: object) -> None:
        with pytest.raises(CredentialsMissing):
            credentials_of(content, "here", ACME)

    @pytest.mark.parametrize("key", ["email", "password"])
    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (None, "null"),
            ("", "empty"),
            (7, "a number"),
            (1.5, "a number"),
            (True, "true or false"),
            (["x"], "an array"),
            ({}, "an object"),
        ],
    )
    def test_a_value_of_the_wrong_type_is_named_with_its_place_and_not_quoted(
        self, key: str, value: object, words: str
    ) -> None:
        with pytest.raises(CredentialsMissing, match=f"secret/acme does not hold .*{key} is {words};") as caught:
            credentials_of(GOOD | {key: value}, "secret/acme", ACME)
        assert "canary" not in str(caught.value)

    def test_all_missing_keys_are_named(self) -> None:
        with pytest.raises(
            CredentialsMissing, match="email is missing, password is missing; it needs the keys email and"
        ):
            credentials_of({"user": "canary"}, "here", ACME)

    @pytest.mark.parametrize("key", ["email", "password"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_one_line_break_at_the_end_is_removed_and_reported(self, key: str, end: str) -> None:
        credentials = credentials_of(GOOD | {key: GOOD[key] + end}, "here", ACME)
        assert credentials == CREDENTIALS
        assert credentials.trimmed
        assert not credentials_of(GOOD, "here", ACME).trimmed

    @pytest.mark.parametrize("key", ["email", "password"])
    @pytest.mark.parametrize("character", ["\n\n", "\r", "a\nb", "\x00", "\t", "\x1b", "\x7f"])
    def test_a_control_character_is_named_and_not_quoted(self, key: str, character: str) -> None:
        with pytest.raises(CredentialsMissing, match=f"{key} has a line break or another control character") as caught:
            credentials_of(GOOD | {key: f"canary{character}"}, "here", ACME)
        assert "canary" not in str(caught.value)

    def test_half_of_a_surrogate_pair_is_no_text(self) -> None:
        with pytest.raises(CredentialsMissing, match="password is not UTF-8 text"):
            credentials_of(GOOD | {"password": "\ud800"}, "here", ACME)

    def test_a_colon_is_allowed_in_a_password_and_not_in_an_email(self) -> None:
        assert (
            credentials_of(GOOD | {"password": "a:b c\u00e4"}, "here", ACME).secret("password").get_secret_value()
            == "a:b c\u00e4"
        )
        with pytest.raises(CredentialsMissing, match="email has a colon"):
            credentials_of(GOOD | {"email": "ads:acme"}, "here", ACME)


class TestNamedSecrets:
    @pytest.mark.parametrize(
        ("keys", "content", "words"),
        [
            (("access_token",), {}, "access_token is missing; it needs the key access_token, a non-empty text"),
            (SEVERAL, {}, "; it needs the keys refresh_token, client_id and client_secret, all non-empty text"),
            (
                SEVERAL,
                {"client_id": "canary", "client_secret": ""},
                "refresh_token is missing, client_secret is empty; .*",
            ),
        ],
    )
    def test_all_that_is_missing_is_named(self, keys: tuple[str, ...], content: object, words: str) -> None:
        with pytest.raises(CredentialsMissing, match=f"{words}$") as caught:
            credentials_of(content, "here", EnvRef("X", keys, basic=()))
        assert "canary" not in str(caught.value)

    def test_each_is_had_by_its_name_and_none_beside_them(self) -> None:
        content = {"refresh_token": "r", "client_id": "c", "client_secret": "s", "owner": "sales"}
        credentials = credentials_of(content, "here", EnvRef("X", SEVERAL, basic=()))
        assert [credentials.secret(key).get_secret_value() for key in SEVERAL] == ["r", "c", "s"]
        with pytest.raises(CredentialsMissing, match="the credentials lack owner; add it where the drop-in's"):
            credentials.secret("owner")

    @pytest.mark.parametrize("value", ["two\nlines", "t\xe4b", "a:b", "\x07"])
    def test_one_for_a_body_may_hold_any_text(self, value: str) -> None:
        credentials = credentials_of({"key": f"{value}\n"}, "here", EnvRef("X", ("key",), basic=()))
        assert credentials.secret("key").get_secret_value() == value
        assert credentials.trimmed

    @pytest.mark.parametrize("value", ["canary\nline", "canary\xe4", "canary\x07", "canary\n\n"])
    def test_one_for_a_header_field_has_to_fit_it_and_is_not_quoted(self, value: str) -> None:
        ref = EnvRef("X", ("key",), basic=(), in_headers=("key",))
        with pytest.raises(CredentialsMissing, match="key does not fit a header field, which needs one line") as caught:
            credentials_of({"key": value}, "here", ref)
        assert "canary" not in str(caught.value)

    def test_only_the_user_of_basic_authentication_must_have_no_colon(self) -> None:
        ref = EnvRef("X", ("user", "key", "other"), basic=("user", "key"))
        content = {"user": "u", "key": "a:b", "other": "c:d"}
        assert credentials_of(content, "here", ref).secret("other").get_secret_value() == "c:d"
        with pytest.raises(CredentialsMissing, match="user has a colon"):
            credentials_of(content | {"user": "u:v"}, "here", ref)

    def test_variables_and_json_are_named_by_the_keys(self, tmp_path: Path) -> None:
        ref = EnvRef("GOOGLE", SEVERAL, basic=())
        environ = {"GOOGLE_REFRESH_TOKEN": "r", "GOOGLE_CLIENT_ID": "c", "GOOGLE_CLIENT_SECRET": "s"}
        assert read_environment(ref, environ).secret("client_secret").get_secret_value() == "s"
        with pytest.raises(CredentialsMissing, match="set GOOGLE_REFRESH_TOKEN, GOOGLE_CLIENT_ID and GOOGLE_CLIENT_S"):
            read_environment(ref, {})
        (tmp_path / "acme").write_text("canary")
        with pytest.raises(CredentialsMissing, match=r'not JSON; write \{"access_token": "\.\.\."\}'):
            read_systemd(SystemdRef("acme", ("access_token",), basic=()), {"CREDENTIALS_DIRECTORY": str(tmp_path)})


class TestEnvironment:
    def test_a_prefix_names_two_variables(self) -> None:
        environ = {"ACME_EMAIL": "ads@acme.example", "ACME_PASSWORD": "canary-password", "GLOBEX_PASSWORD": "other"}
        assert read_environment(ACME, environ) == CREDENTIALS

    @pytest.mark.parametrize(
        ("environ", "words"),
        [
            ({}, "set ACME_EMAIL and ACME_PASSWORD"),
            ({"ACME_EMAIL": "", "ACME_PASSWORD": ""}, "set ACME_EMAIL and ACME_PASSWORD"),
            ({"ACME_PASSWORD": "canary"}, "set ACME_EMAIL"),
            ({"ACME_EMAIL": "canary", "ACME_PASSWORD": ""}, "set ACME_PASSWORD"),
            ({"ACME_EMAIL": "a", "ACME_PASSWORD": "\n"}, "ACME_PASSWORD is empty"),
            ({"ACME_EMAIL": "a", "ACME_PASSWORD": os.fsdecode(b"canary\xe4")}, "ACME_PASSWORD is not UTF-8 text"),
        ],
    )
    def test_unset_and_unusable_variables_are_named(self, environ: dict[str, str], words: str) -> None:
        with pytest.raises(CredentialsMissing, match=words) as caught:
            read_environment(ACME, environ)
        assert "canary" not in str(caught.value)


class TestSystemd:
    @pytest.mark.parametrize("content", [GOOD_JSON, GOOD_JSON + b"\n", codecs.BOM_UTF8 + GOOD_JSON])
    def test_a_credential_is_json_in_the_directory_that_systemd_names(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "acme").write_bytes(content)
        assert read_systemd(LOADED, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == CREDENTIALS

    @pytest.mark.parametrize("environ", [{}, {"CREDENTIALS_DIRECTORY": ""}])
    def test_without_systemd_the_error_names_the_unit_s_setting(self, environ: dict[str, str]) -> None:
        with pytest.raises(CredentialsMissing, match=r"start the daemon by systemd, with LoadCredential=acme:FILE"):
            read_systemd(LOADED, environ)

    def test_an_absent_credential_is_named_with_its_fix(self, tmp_path: Path) -> None:
        with pytest.raises(CredentialsMissing, match=r"No such file or directory.*LoadCredential=acme"):
            read_systemd(LOADED, {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    @pytest.mark.parametrize("name", ["", ".", "..", "../acme", "/etc/passwd", "a/b", "acme\n", ".hidden"])
    def test_no_name_leads_out_of_the_directory(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "acme").write_bytes(GOOD_JSON)
        inside = tmp_path / "inside"
        inside.mkdir()
        with pytest.raises(CredentialsMissing, match="can't be a credential's name"):
            read_systemd(SystemdRef(name), {"CREDENTIALS_DIRECTORY": str(inside)})

    @pytest.mark.parametrize(
        "content",
        [b'{"email": "canary', b"\xffcanary", b"canary", b'{"password": "canary"}', b"", b"[" * 200_000],
        ids=range(6),
    )
    def test_a_malformed_credential_is_refused_and_not_quoted(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "acme").write_bytes(content)
        with pytest.raises(CredentialsMissing, match="the credential acme") as caught:
            read_systemd(LOADED, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
        assert "canary" not in "".join(traceback.format_exception(caught.value))

    def test_a_credential_may_have_one_mebibyte(self, tmp_path: Path) -> None:
        for size, works in ((1 << 20, True), ((1 << 20) + 1, False)):
            (tmp_path / "acme").write_bytes(GOOD_JSON.ljust(size))
            environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
            if works:
                assert read_systemd(LOADED, environ) == CREDENTIALS
            else:
                with pytest.raises(CredentialsMissing, match="the credential acme is larger than 1024 KiB"):
                    read_systemd(LOADED, environ)


def place(kind: str, folder: Path, content: str) -> tuple[SecretPlace, dict[str, str]]:
    """A place of a daemon's own secret with this content, and the environment that leads there."""
    (folder / "secret-id").write_text(content)
    places: dict[str, tuple[SecretPlace, dict[str, str]]] = {
        "credential": (InCredential("secret-id"), {"CREDENTIALS_DIRECTORY": str(folder)}),
        "variable": (InVariable("SECRET_ID"), {"SECRET_ID": content}),
        "file": (InFile(folder / "secret-id"), {}),
    }
    return places[kind]


@pytest.mark.parametrize("kind", ["credential", "variable", "file"])
class TestTheDaemonsOwnSecret:
    def test_it_is_read_anew_each_time_without_the_line_break_after_it(self, kind: str, tmp_path: Path) -> None:
        assert resolve_secret(*place(kind, tmp_path, "old\n")).get_secret_value() == "old"
        assert resolve_secret(*place(kind, tmp_path, "new")).get_secret_value() == "new"

    @pytest.mark.parametrize("content", ["", " \n", "two\nlines-canary", "canary\u20ac", "canary\x00"])
    def test_one_that_does_not_fit_a_header_is_refused_and_not_quoted(
        self, kind: str, content: str, tmp_path: Path
    ) -> None:
        with pytest.raises(CredentialsMissing, match="holds no secret") as caught:
            resolve_secret(*place(kind, tmp_path, content))
        assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_an_absent_or_unreadable_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsMissing, match="the environment variable SECRET_ID holds no secret"):
        resolve_secret(InVariable("SECRET_ID"), {})
    with pytest.raises(CredentialsMissing, match=r"none can't be read \(No such file or directory\)"):
        resolve_secret(InFile(tmp_path / "none"), {})
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(CredentialsMissing, match="binary is not UTF-8 text"):
        resolve_secret(InFile(tmp_path / "binary"), {})


Read = Callable[[Path], object]


def credential(path: Path) -> object:
    return read_systemd(SystemdRef(path.name), environ_of(path))


def secret_file(path: Path) -> object:
    return resolve_secret(InFile(path), environ_of(path))


def environ_of(path: Path) -> Mapping[str, str]:
    return {"CREDENTIALS_DIRECTORY": str(path.parent)}


@pytest.mark.parametrize("read", [credential, secret_file])
def test_a_pipe_in_the_place_of_a_file_blocks_nothing(read: Read, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CredentialsMissing, match=r"pipe can't be read \(not a regular file\)"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("read", [credential, secret_file])
def test_a_file_that_this_process_has_no_descriptor_for_does_not_count_as_missing(read: Read, tmp_path: Path) -> None:
    (tmp_path / "acme").write_bytes(GOOD_JSON)
    with exhausted(), pytest.raises(CredentialsUnavailable, match="no file descriptor left; raise LimitNOFILE="):
        read(tmp_path / "acme")
