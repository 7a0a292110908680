"""A platform's profile in words: what it describes, and what credentials and drop-ins need for it."""

from collections.abc import Iterator

from adsyncd.duration import format_duration
from adsyncd.model.profile import Listing, Paging, PagingKind, Profile, StaticToken, TokenRequest

_WAYS = {
    PagingKind.NUMBER: "by number",
    PagingKind.OFFSET: "by offset",
    PagingKind.CURSOR: "by cursor",
    PagingKind.LINK: "by link",
}


def profile_as_json(profile: Profile, file: str) -> dict[str, object]:
    """Return a profile as `profile list --json` and `profile check --json` print it."""
    return {
        "name": profile.name,
        "file": file,
        "base_url": profile.base_url,
        "push": profile.push is not None,
        "paging": profile.listing.paging.kind.value,
        "fields": [field.column for field in profile.fields],
        "secrets": list(profile.secrets),
        "vars": list(profile.vars),
    }


def described(profile: Profile) -> Iterator[tuple[str, str]]:
    """Yield each part of a profile and what it is."""
    yield "base_url", profile.base_url or "none: each user's own, in [platforms.NAME]"
    yield "sign-in", _sign_in(profile)
    yield "listing", _listing(profile.listing)
    yield "paging", _paging(profile.listing.paging)
    yield "fields", ", ".join(field.column for field in profile.fields)
    yield "push", f"{profile.push.method} {profile.push.path}" if profile.push else "none: pull only"
    yield "secrets", _names(profile.secrets, "in the credentials")
    yield "vars", _names(profile.vars, "in each drop-in")


def direction(profile: Profile) -> str:
    """Return whether campaigns are pushed."""
    return "push" if profile.push else "pull only"


def _sign_in(profile: Profile) -> str:
    match profile.sign_in:
        case StaticToken(secret):
            source = f"the secret {secret} is the token"
        case TokenRequest() as request:
            lasts = (
                (request.expires_in and f"for {request.expires_in} seconds")
                or (request.expires_at and f"until {request.expires_at}")
                or (request.life and f"for {format_duration(request.life)}")
                or "until it is refused"
            )
            source = f"{request.method} {request.url} brings the token, at {request.token}, {lasts}"
    scheme = f"{profile.token_scheme} " if profile.token_scheme else ""
    return f"{source}; sent as {profile.token_header}: {scheme}TOKEN"


def _listing(listing: Listing) -> str:
    least, most = listing.page_size
    parts = [f"{listing.method} {listing.path}", f"records at {listing.records or 'the top'}"]
    parts += ["none if that is absent"] if listing.absent_is_empty else []
    parts += [f"{least} to {most} a page"] if listing.paging.size else []
    parts += [f"costs {listing.cost} permits"] if listing.cost > 1 else []
    return ", ".join(parts)


def _paging(paging: Paging) -> str:
    if paging.kind is PagingKind.NONE:
        return "none: one page"
    parts = [_WAYS[paging.kind]]
    parts += [f"{paging.param} in the {'body' if paging.in_body else 'query'}"] if paging.param else []
    parts += [f"from {paging.next}"] if paging.next else []
    parts += [f"more follows by {paging.has_more}"] if paging.has_more else []
    return ", ".join(parts)


def _names(names: tuple[str, ...], where: str) -> str:
    return f"{', '.join(names)} ({where})" if names else "none"
