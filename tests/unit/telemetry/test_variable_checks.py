import logging
import os
from pathlib import Path
from unittest import mock

import certifi
import pytest

from adsyncd.telemetry import variable_checks as checks
from adsyncd.telemetry.variable_checks import Check

CANARY = "canary-4711"


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (checks.whole(1), ["1", " 512 ", "2147483647"], ["0", "-5", "1.5", "abc", "10s", "1e3", "2147483648"]),
        (checks.whole(0), ["0"], ["-1", "x"]),
        (checks.time_in("seconds"), ["10", "0.5", "1e3"], ["0", "-5", "10s", "nan", "inf", "1e300"]),
        (checks.share, ["0", "0.1", "1"], ["7", "-0.1", "nan", "half"]),
        (checks.one_of("gzip", "none"), ["gzip"], ["GZIP", "zstd"]),
        (checks.one_of("gzip", fold=str.lower), ["GZIP"], ["zstd"]),
        (checks.exporters("prometheus"), ["otlp", "otlp, console", "none"], ["otlp,jaeger", "otlp,", "OTLP"]),
        (checks.protocol, ["http/protobuf"], ["grpc", "http/json", "http"]),
        (
            checks.installed("opentelemetry_propagator", "tracecontext", "none"),
            ["tracecontext", "none", "tracecontext, baggage"],  # which its package provides
            ["b3", "tracecontext,b3multi", "tracecontext,"],
        ),
        (
            checks.address,
            ["http://localhost:4318", "https://user:pw@collector/otlp?x=1", "HTTP://[::1]:4318/"],
            [
                "localhost:4318",
                "127.0.0.1:4318",
                "collector",
                "grpc://collector:4317",
                "unix:///run/collector",
                "http://",
                "http:///v1/traces",
                "http:collector",
                "http://collector:port",
                "http://collector:99999",
                "http://[::1",
                "http://collector:4318\n",
                " http://collector",
                "http://my collector",
            ],
        ),
        (
            checks.headers,
            [
                "authorization=Bearer%20KEY",
                "Authorization=Basic dXNlcjpwdw==",  # which other SDKs want as it is
                "a=1,b=2,",
                "a=b\n",
                "x-empty=",
            ],
            [
                "authorization: Bearer KEY",
                "novalue",
                "a=1,b: 2",
                "=1",
                'a="quoted"',
                "a=1;b=2",
                "a=line%0abreak",
                "na%0ame=1",
                "a=\u044f",
                "a=%d1%8f",
            ],
        ),
        (checks.attributes, ["a=b", "a=b,c=d=e", "a=b,", "a="], ["a", "a=b,c", "=c", "a=b,,c=d", ","]),
    ],
)
def test_what_the_sdk_can_use_as_it_stands_is_right_and_the_rest_is_wrong(
    check: Check, right: list[str], wrong: list[str]
) -> None:
    assert [value for value in right if check(value)] == []
    assert [value for value in wrong if not check(value)] == []


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (checks.headers, f"authorization: Bearer {CANARY}"),
        (checks.headers, f"a=1,{CANARY}"),
        (checks.address, f"user:{CANARY}@collector:4318"),
        (checks.attributes, CANARY),
        (checks.file, f"-----BEGIN PRIVATE KEY-----{CANARY}"),
        (checks.authorities, CANARY),
    ],
)
def test_neither_the_answer_nor_the_log_shows_what_may_be_a_secret(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], check: Check, value: str
) -> None:
    wrong = check(value)
    assert wrong
    assert CANARY not in str(wrong)
    assert CANARY not in caplog.text
    assert CANARY not in "".join(capfd.readouterr())
    assert not logging.getLogger("opentelemetry.util.re").disabled


def test_one_header_of_several_is_told_by_its_number() -> None:
    assert checks.headers("a=1,b: 2,c=3") == (
        "header 2 of 3 is not NAME=VALUE",
        "write it like authorization=Bearer%20KEY, with %2C for a comma",
    )


def test_a_file_that_several_variables_name_is_read_once(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_bytes(Path(certifi.where()).read_bytes())
    with mock.patch("ssl.create_default_context") as read:
        assert [checks.authorities(str(authorities)) for _ in range(3)] == [None] * 3
        assert read.call_count == 1
    authorities.write_text("")
    os.utime(authorities, ns=(0, 0))
    assert checks.authorities(str(authorities))


def test_certificates_come_from_a_file_that_has_some_or_from_a_directory(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    assert checks.authorities(certifi.where()) is None
    assert checks.authorities(str(tmp_path)) is None
    assert checks.authorities(f"/nowhere:{tmp_path}") is None  # as OpenSSL reads SSL_CERT_DIR
    assert checks.authorities("/nowhere/ca.pem") == (
        "names a file that can't be read: No such file or directory",
        "name a readable PEM file",
    )
    assert checks.authorities(str(tmp_path / "empty.pem")) == (
        "names a file without a certificate",
        "name a PEM file with certificates",
    )
    assert checks.file(str(tmp_path / "empty.pem")) is None
    assert checks.file(str(tmp_path))
