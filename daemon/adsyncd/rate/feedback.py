"""Limits and waits that a platform states in its responses. They can only make us slower.

The wait is the first of: `Retry-After` (RFC 9110, section 10.2.3), fields of a failure's JSON body, usage headers. The
limits are `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers, versions 03 to 10), else
`X-RateLimit-*` and the like, else usage percentages. The names are data, in a `Dialect`. Garbage is ignored, and absurd
values are capped.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from itertools import islice

from adsyncd.duration import LONGEST
from adsyncd.rate.dialect import STANDARD, Counter, Dialect, Rule, Unit, Usage
from adsyncd.rate.stated_time import instant, number, seconds_away

_MOST_LIMITS = 32  # in one header field: Meta puts so many objects into one
_SCALE_S = {Unit.MILLISECONDS: 0.001, Unit.SECONDS: 1.0, Unit.MINUTES: 60.0}

_QUOTED = r'"(?:\\.|[^"\\])*"?'
_MEMBER = re.compile(rf'(?:{_QUOTED}|[^",])+')
_PART = re.compile(rf'(?:{_QUOTED}|[^";])+')


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit, as far as it is stated: `remaining` of `requests` in a window of `window_s`, which ends in `reset_s`.

    `used`: the share that is used, 0 to 1, if the platform counts something other than requests.
    """

    remaining: int | None = None
    reset_s: float | None = None
    requests: int | None = None
    window_s: float | None = None
    used: float | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """The statements of a response: wait for `wait_s`, whether a limit refused the request, and the limits."""

    wait_s: float | None = None
    throttled: bool = False
    limits: tuple[Limit, ...] = ()


NOTHING = Said()


def read(status: int, headers: Mapping[str, str], data: object, now: datetime, dialect: Dialect = STANDARD) -> Said:
    """Read a response, a failure or a success. `data`: the JSON of its body. `now`: when it came.

    Times count from the response's own `Date`, if it has one, so the two clocks need not agree. Past and negative times
    are ignored. Never raises.
    """
    answer = _Answer(status, headers, data, now, dialect.throttling)
    if dialect.header_names.isdisjoint(answer.fields) and not (answer.failed or answer.throttled):
        return NOTHING
    usages = list(_usages(answer, dialect.usages))
    waits_s = [*_waits_s(answer, dialect), max((wait_s for _, wait_s in usages), default=None)]
    limits = _counts(answer, dialect.counters) or [limit for limit, _ in usages if limit.used is not None]
    return Said(
        wait_s=next(filter(None, waits_s), None),
        throttled=answer.throttled,
        limits=tuple(dict.fromkeys(limits)),
    )


def matches(rule: Rule, status: int, data: object) -> bool:
    """Return whether `rule` matches a response. `data`: the JSON of its body."""
    if rule.status is not None and rule.status != status:
        return False
    return rule.path is None or any(_is_one_of(value, rule.values) for value in _at(data, rule.path))


class _Answer:
    """A response whose header fields are parsed on demand."""

    def __init__(
        self, status: int, headers: Mapping[str, str], data: object, now: datetime, throttling: Iterable[Rule]
    ) -> None:
        self.status = status
        self.fields = {name.lower(): value for name, value in headers.items()}
        self.data = data
        self._now = now
        self._throttling = throttling

    @property
    def failed(self) -> bool:
        return self.status >= HTTPStatus.BAD_REQUEST

    @cached_property
    def throttled(self) -> bool:
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or any(
            matches(rule, self.status, self.data) for rule in self._throttling
        )

    @cached_property
    def at(self) -> datetime:
        return instant(self.fields.get("date", "")) or self._now

    def away_s(self, value: object, unit: Unit = Unit.SECONDS) -> float | None:
        """Return in how many seconds the time comes that `value` states; negative if past."""
        return seconds_away(value, self.at, _SCALE_S[unit])

    def ahead_s(self, values: Iterable[object], unit: Unit = Unit.SECONDS) -> float | None:
        """Return the latest of the times that `values` state, if one lies ahead."""
        ahead = (away_s for value in values if (away_s := self.away_s(value, unit)) is not None and away_s > 0)
        return max(ahead, default=None)


def _waits_s(answer: _Answer, dialect: Dialect) -> Iterator[float | None]:
    for name in dialect.wait_headers:
        if name in answer.fields:
            yield answer.ahead_s([answer.fields[name]])
    if answer.failed or answer.throttled:
        for period in dialect.waits:
            yield answer.ahead_s(_at(answer.data, period.path), period.unit)


def _usages(answer: _Answer, usages: Iterable[Usage]) -> Iterator[tuple[Limit, float]]:
    """Yield each limit, and for how many seconds the platform accepts nothing."""
    for usage in usages:
        if usage.header not in answer.fields:
            continue
        for item in islice(_at(_json(answer.fields[usage.header]), usage.each), _MOST_LIMITS):
            stated = [number(value) for path in usage.percentages for value in _at(item, path)]
            used = max((percentage for percentage in stated if percentage is not None), default=None)
            wait_s, reset_s = (
                answer.ahead_s(_at(item, period.path), period.unit) if period else None
                for period in (usage.wait, usage.reset)
            )
            yield Limit(used=None if used is None else min(used / 100, 1), reset_s=reset_s or wait_s), wait_s or 0.0


def _counts(answer: _Answer, counters: Iterable[Counter]) -> list[Limit]:
    """Return the limits that count requests; those that only a policy states come last."""
    policies = list(_policies(answer.fields.get("ratelimit-policy", "")))
    stated = list(_ratelimit(answer.fields["ratelimit"], answer)) if "ratelimit" in answer.fields else []
    if not stated:
        for counter in counters:
            if any(name in answer.fields for name in (counter.remaining, counter.requests, counter.reset)):
                requests, remaining, reset = (
                    answer.fields.get(name, "") for name in (counter.requests, counter.remaining, counter.reset)
                )
                stated.append(("", _limit(answer, requests, remaining, reset)))
                policies += _policies(requests)
    limits = []
    for name, limit in stated:
        policy = next((each for each in policies if _is_of(name, limit, *each)), None)
        if policy is None:
            limits.append(limit)
        elif policy[1] is not None:
            policies.remove(policy)
            limits.append(replace(limit, requests=policy[1].requests, window_s=policy[1].window_s))
    limits += [terms for _, terms in policies if terms is not None]
    return [limit for limit in limits if limit.remaining is not None or limit.window_s is not None]


def _ratelimit(text: str, answer: _Answer) -> Iterator[tuple[str, Limit]]:
    """Yield the limits of the field `RateLimit`, each with its name; versions before 08 have no names."""
    members = list(_members(text))
    single = dict(name.split("=", 1) for name, _ in members if "=" in name)
    if "remaining" in single:
        yield "", _limit(answer, single.get("limit", ""), single["remaining"], single.get("reset", ""))
    else:
        for name, parameters in members:
            if "r" in parameters:
                yield name, _limit(answer, "", parameters["r"], parameters.get("t", ""))


def _limit(answer: _Answer, requests: str, remaining: str, reset: str) -> Limit:
    left, reset_s = _count(remaining), answer.away_s(reset)
    if reset_s is not None and reset_s <= 0:
        left = reset_s = None  # the window is over
    elif reset_s is not None and left is None and answer.throttled:
        left = 0
    return Limit(left, reset_s, _count(requests) or None)


def _is_of(name: str, limit: Limit, policy: str, terms: Limit | None) -> bool:
    """Return whether a limit is that of a policy: by its name, or without one by the number of requests."""
    if name:
        return name == policy
    return terms is not None and terms.requests == limit.requests


def _policies(text: str) -> Iterator[tuple[str, Limit | None]]:
    """Yield each policy's name and terms; None if it counts something other than requests."""
    for name, parameters in _members(text):
        requests = _count(parameters.get("q", name if "w" in parameters else ""))  # before version 08 it has no name
        if parameters.get("qu", "requests") != "requests":
            yield name, None
        elif requests:
            window_s = number(parameters.get("w"))
            yield name, Limit(requests=requests, window_s=min(window_s, LONGEST.total_seconds()) if window_s else None)


def _members(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each item of a list and its parameters, in the form of structured fields (RFC 9651) or nearly so."""
    for member in islice(_MEMBER.finditer(text), _MOST_LIMITS):
        item, *parameters = [part.strip() for part in _PART.findall(member[0])] or [""]
        pairs = [parameter.partition("=") for parameter in parameters]
        yield item.strip('"'), {name.strip(): value.strip(' "') for name, _, value in pairs}


def _at(value: object, path: str) -> list[object]:
    """Return all that `path` leads to; see `Period`."""
    found = _spread([value])
    for name in path.split(".") if path else ():
        tables = [item for item in found if isinstance(item, dict)]
        found = _spread([inner for table in tables for key, inner in table.items() if name in ("*", key)])
    return found


def _spread(values: list[object]) -> list[object]:
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def _is_one_of(value: object, wanted: Iterable[bool | int | str | range]) -> bool:
    if not isinstance(value, int | str):  # a bool is an int
        return False
    kind = type(value)  # true is not 1
    return any(
        value in one if isinstance(one, range) and kind is int else type(one) is kind and value == one for one in wanted
    )


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _count(text: str) -> int | None:
    count = number(re.split("[,;]", text, maxsplit=1)[0])  # version 03 appends policies to the number
    return None if count is None else int(count)
