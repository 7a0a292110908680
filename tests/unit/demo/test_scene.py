from adsyncd.demo.scene import FAULTS, Scene, email
from mock_api.settings import MockSettings

PASSWORDS = {"acme": "pw-a", "globex": "pw-g"}


def test_the_platform_knows_each_tenants_account_for_its_own_client_id_alone() -> None:
    settings = MockSettings.model_validate(Scene().platform(PASSWORDS))
    known = {name: (account.password, {*account.clients}) for name, account in settings.accounts.items()}
    assert known == {email("acme"): ("pw-a", {"acme"}), email("globex"): ("pw-g", {"globex"})}


def test_the_platform_keeps_the_scenes_quota_and_has_the_faults_that_are_announced() -> None:
    scene = Scene(campaigns=7)
    behaviour = MockSettings.model_validate(scene.platform(PASSWORDS)).behaviour("acme")
    assert behaviour.campaigns == 7
    assert (behaviour.quota_requests, behaviour.quota_window_s) == (10, 3.0)
    rates = behaviour.list_503, behaviour.list_hang, behaviour.push_503
    words = "{:.0%} of listings get a 503 and {:.0%} no answer, {:.0%} of pushes get a 503".format(*rates)
    assert words == FAULTS


def test_a_surprise_is_in_the_platform_alone() -> None:
    scene = Scene(surprises={"quota_requests": 4})
    assert MockSettings.model_validate(scene.platform(PASSWORDS)).behaviour("acme").quota_requests == 4
    assert scene.quota.requests == 10
