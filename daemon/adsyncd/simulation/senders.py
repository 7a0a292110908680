"""Tells whose client id a request is for, whichever API it speaks, and what token it carries."""

from urllib.parse import parse_qsl

import httpx

from adsyncd.simulation.world import World


class Senders:
    """The client ids of a world, in a header field, in the path, or behind the secrets of a sign-in."""

    def __init__(self, world: World) -> None:
        tenants = [tenant for life in world.lives for tenant in life.tenants]
        self._ids = frozenset(world.links)
        self._by_email = {world.accounts[tenant.credentials][0]: tenant.client_id for tenant in tenants}
        self._token_headers = {tenant.client_id: tenant.platform.profile.token_header for tenant in tenants}

    def client_id(self, request: httpx.Request) -> str:
        """Return the client id that a request is for."""
        if "x-client-id" in request.headers:
            return str(request.headers["x-client-id"])
        for part in request.url.path.split("/"):
            if part in self._ids:
                return part
        form = dict(parse_qsl(request.read().decode()))
        return self._by_email[form["refresh_token"].rpartition("-of-")[2]]

    def token(self, request: httpx.Request) -> str | None:
        """Return the access token that a request carries; a sign-in has none."""
        scheme, _, token = request.headers.get(self._token_headers[self.client_id(request)], "").rpartition(" ")
        return None if scheme.lower() == "basic" else token or None
