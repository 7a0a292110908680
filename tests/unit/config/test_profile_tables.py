import tomllib
from dataclasses import replace

from adsyncd.config.profile_file import shipped_profile
from adsyncd.config.profile_tables import ProfileFile
from adsyncd.model.profile import Answer, Means, Push
from adsyncd.rate.dialect import STANDARD, Rule

LEAST = """\
sign_in = { static = "access_token" }
list = { path = "/v1/campaigns", records = "data" }
fields = { id = "id" }
"""


def profile(text: str) -> ProfileFile:
    return ProfileFile.model_validate(tomllib.loads(text))


def test_least_of_all_a_profile_says_how_to_sign_in_and_where_the_records_are() -> None:
    least = profile(LEAST).profile("least")
    assert (least.name, least.base_url, least.push, least.dialect) == ("least", None, None, STANDARD)
    assert (least.token_header, least.token_scheme) == ("authorization", "Bearer")


def test_answers_that_mean_throttling_go_to_the_dialect() -> None:
    text = """
[[answers]]
means = "throttled"
status = 420
[[answers]]
means = "later"
path = "code"
values = [1]
"""
    found = profile(LEAST + text).profile("x")
    assert found.dialect == replace(STANDARD, throttling=(Rule(420),))
    assert found.answers == (Answer(Means.LATER, Rule(None, "code", (1,))),)


def test_the_built_in_push_confirms_the_campaign() -> None:
    assert shipped_profile().push == Push(
        "POST",
        "/api/campaigns/{id}/sync",
        '{"campaign_id":"{id}"}',
        "idempotency-key",
        Rule(None, "success", (True,)),
        "campaign_id",
    )
