import pytest

from adsyncd.cli.probe import as_json, print_probe
from adsyncd.config.profile_file import shipped_profile
from adsyncd.platforms.probe import Column, Examined, Probe, Sent, Step, Timed
from adsyncd.rate.feedback import Limit, Said

PROFILE = shipped_profile("meta")
SENT = Sent("GET", "https://ads.example.com/c?limit=1", {"authorization": "Bearer ***"}, '{"a": 1}')
ID = Column("id", ("id",), "id", 2, '"c-1"', "c-1")
FOUND = Examined(2, "after=tok", 7, (ID,))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Said(), "none stated"),
        (Said(12.4, throttled=True), "the request was refused for a limit's sake; wait 12 s"),
        (
            Said(limits=(Limit(3, 8.0, 10, 60.0), Limit(used=0.25))),
            "3 requests left, 10 allowed in 60 s, reset in 8 s; 25% used",
        ),
    ],
)
def test_what_an_answer_says_of_limits_is_put_into_words(
    capsys: pytest.CaptureFixture[str], said: Said, words: str
) -> None:
    print_probe(Probe(sent=SENT, status=200, size=17, said=said, examined=FOUND), PROFILE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "GET https://ads.example.com/c?limit=1",
        "  authorization: Bearer ***",
        '  {"a": 1}',
        "answer: 200, 17 bytes",
        f"limits: {words}",
    ]


def test_a_failed_step_is_said_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_probe(Probe(Step.SIGN_IN, "the platform refused"), PROFILE)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: sign-in: the platform refused\n")


def test_the_steps_are_said_with_their_times(capsys: pytest.CaptureFixture[str]) -> None:
    steps = (Timed(Step.CREDENTIALS, 0.012, ok=True), Timed(Step.SIGN_IN, 1.5, ok=False))
    print_probe(Probe(Step.SIGN_IN, "the platform refused", steps=steps), PROFILE)
    assert capsys.readouterr().out == "steps: credentials 0.01 s, sign-in failed after 1.50 s\n"
    assert as_json(Probe(Step.SIGN_IN, "no", steps=steps), PROFILE)["steps"] == [
        {"name": "credentials", "seconds": 0.012, "ok": True},
        {"name": "sign-in", "seconds": 1.5, "ok": False},
    ]


def test_json_has_the_same_keys_however_far_a_probe_came() -> None:
    early, late = as_json(Probe(Step.CREDENTIALS, "none"), PROFILE), as_json(Probe(sent=SENT, examined=FOUND), PROFILE)
    assert list(early) == list(late)
    assert (early["request"], early["records"], late["records"], late["records_path"]) == (None, None, 2, "data")
