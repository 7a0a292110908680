from itertools import count

from adsyncd.demo.scene import FAULTS, ORBIT_FAULTS, Scene, email
from mock_api.settings import MockSettings

SCENE = Scene(tenants=("acme", "globex"), campaigns=7)


def platform(scene: Scene) -> MockSettings:
    numbers = count()
    return MockSettings.model_validate(scene.platform(scene.credentials(lambda: f"new-{next(numbers)}")))


def test_the_platform_knows_each_tenants_account_for_its_own_client_id_alone() -> None:
    accounts = platform(SCENE).accounts
    known = {name: (account.password, {*account.clients}) for name, account in accounts.items()}
    assert known == {
        email("acme"): ("new-0", {"acme"}),
        email("globex"): ("new-1", {"globex"}),
        email("hooli"): (None, {"hooli"}),
    }
    secrets = accounts[email("hooli")].secrets
    assert secrets == {"client_id": "new-2", "client_secret": "new-3", "refresh_token": "new-4", "app_key": "new-5"}


def test_the_platform_keeps_the_scenes_quota_and_has_the_faults_that_are_announced() -> None:
    behaviour, orbit = (platform(SCENE).behaviour(client_id) for client_id in ("acme", "hooli"))
    assert behaviour.campaigns == orbit.campaigns == 7
    assert (behaviour.quota_requests, behaviour.quota_window_s) == (10, 3.0)
    assert f"{orbit.list_error_code:.0%} of listings more get an error under the status 200" == ORBIT_FAULTS
    rates = behaviour.list_503, behaviour.list_hang, behaviour.push_503
    words = "{:.0%} of listings get a 503 and {:.0%} no answer, {:.0%} of pushes get a 503".format(*rates)
    assert words == FAULTS


def test_a_surprise_is_in_the_platform_alone() -> None:
    scene = Scene(surprises={"quota_requests": 4})
    assert platform(scene).behaviour("acme").quota_requests == 4
    assert scene.quota.requests == 10
