import httpx
import pytest

from adsyncd.simulation.scenario import draw_world
from adsyncd.simulation.senders import Senders
from adsyncd.simulation.world import NEW, OLD, secrets_of

ORBIT = "http://orbit.simulated/orbit"
SENDERS = Senders(draw_world(0, tenants=2, hours=0.1, second=1.0))


@pytest.mark.parametrize(
    ("request_", "client_id", "token"),
    [
        (
            httpx.Request("GET", "http://a/api", headers={"X-Client-ID": "tenant-1", "Authorization": "Bearer t"}),
            "tenant-1",
            "t",
        ),
        (httpx.Request("POST", "http://a/auth/token", headers={"X-Client-ID": "tenant-0"}), "tenant-0", None),
        (
            httpx.Request("POST", "http://a/", headers={"X-Client-ID": "tenant-0", "Authorization": "Basic eA=="}),
            "tenant-0",
            None,
        ),
        (
            httpx.Request("GET", f"{ORBIT}/v2/accounts/puller/campaigns?page=1", headers={"X-Orbit-Token": "u"}),
            "puller",
            "u",
        ),
        (httpx.Request("POST", f"{ORBIT}/oauth/token", data=secrets_of("puller@example.com", OLD)), "puller", None),
        (httpx.Request("POST", f"{ORBIT}/oauth/token", data=secrets_of("puller@example.com", NEW)), "puller", None),
    ],
)
def test_the_client_id_and_the_token_of_a_request_are_found_in_any_api(
    request_: httpx.Request, client_id: str, token: str | None
) -> None:
    assert (SENDERS.client_id(request_), SENDERS.token(request_)) == (client_id, token)
