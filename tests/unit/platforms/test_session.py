import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import anyio
import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pydantic import SecretStr
from structlog.testing import LogCapture

from adsyncd.credentials import Credentials
from adsyncd.errors import AdsyncdError, CredentialsMissing, CredentialsUnavailable, SignInRefused, Unavailable
from adsyncd.model.tenant import CredentialsRef
from adsyncd.platforms.session import Refusal, Session, Token
from support.tenants import a_tenant
from support.virtual_time import VirtualClock

LIFE_S = 3600.0


@pytest.fixture
def warnings() -> Iterator[LogCapture]:
    captured, before = LogCapture(), structlog.get_config()
    structlog.configure(processors=[captured])
    yield captured
    structlog.configure(**before)


class FastClock(VirtualClock):
    """A clock that can be set ahead, as when the machine wakes from sleep."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@dataclass
class Platform:
    """Signs in whoever knows the password, after a second; `failure` is raised instead."""

    password: str = "old"
    failure: AdsyncdError | None = None
    life_s: float = LIFE_S
    asked: list[str] = field(default_factory=list)

    async def sign_in(self, credentials: Credentials) -> tuple[SecretStr, float]:
        self.asked.append(credentials.password.get_secret_value())
        number = len(self.asked)
        await anyio.sleep(1)
        if self.failure is not None:
            raise self.failure
        if credentials.password.get_secret_value() != self.password:
            raise SignInRefused("no")
        return SecretStr(f"token-{number}"), self.life_s


@dataclass
class Source:
    password: str = "old"
    failure: AdsyncdError | None = None
    reads: int = 0
    version: int = 1
    seen: int | None = None  # by who looks for new versions
    followed_until: float = 0.0

    async def read(self, ref: CredentialsRef) -> Credentials:
        assert ref == a_tenant().credentials
        self.reads += 1
        await anyio.sleep(0.5)
        if self.failure is not None:
            raise self.failure
        return Credentials("acme@example.com", SecretStr(self.password), self.version)

    def newest(self, ref: CredentialsRef, until: float) -> int | None:
        assert ref == a_tenant().credentials
        self.followed_until = until
        return self.seen

    def rotate(self, password: str) -> None:
        """Write a new version, which is seen at once."""
        self.password = password
        self.version += 1
        self.seen = self.version


class Parts:
    """A session, and all that it talks to."""

    def __init__(self, tenant_id: str = "acme") -> None:
        self.platform = Platform()
        self.source = Source()
        self.clock = FastClock()
        self.spans = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.session = Session(a_tenant(id=tenant_id), self.source, self.clock, provider.get_tracer("test"))

    async def token(self) -> Token:
        return await self.session.token(self.platform.sign_in)

    async def replace(self, refused: Token) -> Token:
        """Get another token after a 401 to that one."""
        self.session.refuse(refused, None)
        return await self.token()

    @property
    def sign_ins(self) -> int:
        return len(self.platform.asked)

    async def to_the_end_of(self, token: Token, *, share: float = 1.0) -> None:
        """Wait for a share of what is left of the token's life."""
        await anyio.sleep((token.expires_at - anyio.current_time()) * share)


async def outcomes(parts: Parts, callers: int, *, apart_s: float = 0.0) -> list[Token | AdsyncdError]:
    """What so many callers get who ask for the token, each a little after the one before."""
    got: list[Token | AdsyncdError] = []

    async def caller(after_s: float) -> None:
        await anyio.sleep(after_s)
        try:
            got.append(await parts.token())
        except AdsyncdError as error:
            got.append(error)

    async with anyio.create_task_group() as tasks:
        for number in range(callers):
            tasks.start_soon(caller, number * apart_s)
    return got


@pytest.mark.parametrize("apart_s", [0.0, 0.1])
async def test_whoever_needs_a_token_meanwhile_shares_one_sign_in(apart_s: float) -> None:
    parts = Parts()
    got = await outcomes(parts, 12, apart_s=apart_s)
    assert len(got) == 12
    assert {id(token) for token in got} == {id(await parts.token())}
    assert (parts.sign_ins, parts.source.reads) == (1, 1)
    assert [span.name for span in parts.spans.get_finished_spans()] == ["token.refresh"]


@pytest.mark.parametrize("apart_s", [0.0, 0.1])
async def test_all_who_wait_for_a_sign_in_share_its_failure(apart_s: float) -> None:
    parts = Parts()
    parts.platform.failure = Unavailable("down")
    got = await outcomes(parts, 12, apart_s=apart_s)
    assert got == [parts.platform.failure] * 12
    assert parts.sign_ins == 1


async def test_a_failure_is_not_shared_with_those_who_come_later() -> None:
    parts = Parts()
    parts.platform.failure = Unavailable("down")
    await outcomes(parts, 3)
    parts.platform.failure = None
    assert [type(got) for got in await outcomes(parts, 3)] == [Token] * 3
    assert parts.sign_ins == 2


async def test_who_comes_while_those_who_waited_still_learn_of_a_failure_asks_anew() -> None:
    parts = Parts()
    parts.platform.failure = Unavailable("down")
    late: list[Token] = []

    async def retries_at_once() -> None:
        with pytest.raises(Unavailable):
            await parts.token()
        parts.platform.failure = None
        late.append(await parts.token())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(retries_at_once)
        tasks.start_soon(outcomes, parts, 5)
    assert len(late) == 1
    assert parts.sign_ins == 2


async def test_a_shared_failure_does_not_grow_with_each_who_shares_it() -> None:
    parts = Parts()
    parts.platform.failure = failure = Unavailable("down")
    await outcomes(parts, 50)
    depth, frame = 0, failure.__traceback__
    while frame is not None:
        depth, frame = depth + 1, frame.tb_next
    assert depth < 10


async def test_when_the_one_who_signs_in_is_cancelled_another_goes_on() -> None:
    parts = Parts()
    got: list[Token] = []

    async def impatient() -> None:
        with anyio.move_on_after(1.2):
            await parts.token()

    async def patient() -> None:
        got.append(await parts.token())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(impatient)
        await anyio.sleep(0.1)
        for _ in range(3):
            tasks.start_soon(patient)
    assert [token.value.get_secret_value() for token in got] == ["token-2"] * 3


async def test_when_one_who_waits_is_cancelled_the_others_still_get_the_token() -> None:
    parts = Parts()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.token)
        await anyio.sleep(0.1)
        with anyio.move_on_after(0.7) as waited:
            await parts.token()
        assert waited.cancelled_caught
    await parts.token()
    assert parts.sign_ins == 1


@pytest.mark.parametrize("tenant_id", ["acme", "globex", "initech", "umbrella"])
async def test_a_token_is_refreshed_between_75_and_85_percent_of_its_life(tenant_id: str) -> None:
    parts = Parts(tenant_id)
    first = await parts.token()
    asked_at = first.expires_at - LIFE_S
    await anyio.sleep(asked_at + 0.7499 * LIFE_S - anyio.current_time())
    assert await parts.token() is first
    await anyio.sleep(asked_at + 0.8501 * LIFE_S - anyio.current_time())
    assert await parts.token() is not first


async def test_the_share_of_life_at_which_tokens_are_refreshed_differs_by_tenant() -> None:
    refreshed = set()
    for tenant_id in ("acme", "globex", "initech", "umbrella"):
        parts = Parts(tenant_id)
        token = await parts.token()
        refreshed.add(round((parts.session._refresh_at - token.expires_at) / LIFE_S, 4))
    assert len(refreshed) == 4


async def test_a_life_is_counted_from_the_asking_since_the_answer_may_be_slow() -> None:
    parts = Parts()
    start = anyio.current_time()
    token = await parts.token()
    assert token.expires_at == start + 0.5 + LIFE_S


async def test_a_token_that_is_still_good_outlives_a_failing_refresh(warnings: LogCapture) -> None:
    parts = Parts()
    first = await parts.token()
    await parts.to_the_end_of(first, share=0.9)
    parts.platform.failure = Unavailable("down")
    assert [got is first for got in await outcomes(parts, 6)] == [True] * 6
    assert parts.sign_ins == 2
    assert [entry["error"] for entry in warnings.entries] == ["down"]  # once, not six times


async def test_a_failing_refresh_is_not_tried_for_each_request() -> None:
    parts = Parts()
    first = await parts.token()
    await parts.to_the_end_of(first, share=0.9)
    parts.platform.failure = Unavailable("down")
    while anyio.current_time() < first.expires_at - 5:
        assert await parts.token() is first
        await anyio.sleep(0.25)
    assert parts.sign_ins < 20


async def test_after_its_end_a_token_outlives_nothing() -> None:
    parts = Parts()
    first = await parts.token()
    parts.platform.failure = Unavailable("down")
    await parts.to_the_end_of(first)
    with pytest.raises(Unavailable):
        await parts.token()


async def test_a_token_that_ends_during_a_failing_refresh_is_not_given_out() -> None:
    parts = Parts()
    first = await parts.token()
    parts.platform.failure = Unavailable("down")
    await anyio.sleep(first.expires_at - anyio.current_time() - 0.5)
    with pytest.raises(Unavailable):
        await parts.token()


async def test_a_refresh_put_off_comes_back_to_its_share_of_life_once_it_succeeds() -> None:
    parts = Parts()
    first = await parts.token()
    await parts.to_the_end_of(first, share=0.9)
    parts.platform.failure = Unavailable("down")
    await parts.token()
    parts.platform.failure = None
    await parts.to_the_end_of(first, share=0.5)
    second = await parts.token()
    await anyio.sleep(0.74 * LIFE_S)
    assert await parts.token() is second
    assert parts.sign_ins == 3


async def test_a_refused_token_is_replaced_once_for_all_whom_it_failed() -> None:
    parts = Parts()
    first = await parts.token()
    got: list[Token] = []

    async def refused(after_s: float) -> None:
        await anyio.sleep(after_s)
        got.append(await parts.replace(first))

    async with anyio.create_task_group() as tasks:
        for after_s in (0.0, 0.0, 0.5, 100.0):  # the last one learns of it when it is long replaced
            tasks.start_soon(refused, after_s)
    assert {token.value.get_secret_value() for token in got} == {"token-2"}
    assert parts.sign_ins == 2


async def test_a_refused_token_is_never_given_out_again_even_if_signing_in_fails() -> None:
    parts = Parts()
    first = await parts.token()
    parts.platform.failure = Unavailable("down")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await parts.replace(first)
    with pytest.raises(Unavailable):
        await parts.token()
    parts.platform.failure = None
    assert await parts.token() is not first


async def test_a_token_refused_after_a_failed_refresh_ahead_of_its_end_is_replaced() -> None:
    parts = Parts()
    first = await parts.token()
    await parts.to_the_end_of(first, share=0.9)
    parts.platform.failure = Unavailable("down")
    kept = await parts.token()
    parts.platform.failure = None
    assert (await parts.replace(kept)).value != first.value


async def test_a_token_refused_during_a_failing_refresh_is_not_given_out_as_still_good() -> None:
    parts = Parts()
    first = await parts.token()
    await parts.to_the_end_of(first, share=0.9)
    parts.platform.failure = Unavailable("down")

    async def refused() -> None:
        await anyio.sleep(0.5)
        with pytest.raises(Unavailable):
            await parts.replace(first)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refused)
        assert [type(got) for got in await outcomes(parts, 3)] == [Unavailable] * 3


async def test_after_a_401_rotated_credentials_are_read_before_the_old_ones_are_tried() -> None:
    parts = Parts()
    first = await parts.token()
    parts.platform.password = parts.source.password = "new"
    second = await parts.replace(first)
    assert second.expires_at == anyio.current_time() - 1 + LIFE_S  # its sign-in took a second
    assert parts.platform.asked == ["old", "new"]
    assert parts.source.reads == 2


async def test_credentials_that_are_refused_and_the_same_when_read_again_are_not_sent_twice() -> None:
    parts = Parts()
    first = await parts.token()
    parts.platform.password = "new"
    with pytest.raises(SignInRefused):
        await parts.replace(first)
    assert parts.platform.asked == ["old", "old"]
    assert parts.source.reads == 2


async def test_credentials_just_read_and_refused_are_not_read_again() -> None:
    parts = Parts()
    parts.platform.password = "new"
    with pytest.raises(SignInRefused):
        await parts.token()
    assert (parts.platform.asked, parts.source.reads) == (["old"], 1)


async def test_credentials_once_refused_are_read_anew_the_next_time() -> None:
    parts = Parts()
    parts.platform.password = "new"
    with pytest.raises(SignInRefused):
        await parts.token()
    parts.source.password = "new"
    await parts.token()
    assert parts.platform.asked == ["old", "new"]


async def test_known_credentials_once_refused_are_not_sent_again_when_they_were_rotated_meanwhile() -> None:
    parts = Parts()
    first = await parts.token()
    parts.platform.password = "new"
    with pytest.raises(SignInRefused):
        await parts.replace(first)
    parts.source.password = "new"
    await parts.token()
    assert parts.platform.asked == ["old", "old", "new"]


async def test_rotated_credentials_that_are_refused_too_end_it() -> None:
    parts = Parts()
    first = await parts.token()
    parts.platform.password, parts.source.password = "newest", "new"
    with pytest.raises(SignInRefused):
        await parts.replace(first)
    assert parts.platform.asked == ["old", "new"]


async def test_a_new_version_that_is_seen_is_signed_in_with_at_once_and_once() -> None:
    parts = Parts()
    first = await parts.token()
    parts.source.rotate("new")
    parts.platform.password = "new"
    got = await outcomes(parts, 6, apart_s=0.1)
    assert [token is first for token in got] == [False] * 6
    assert parts.platform.asked == ["old", "new"]
    await anyio.sleep(0.7 * LIFE_S)
    await parts.token()
    assert (parts.platform.asked, parts.source.reads) == (["old", "new"], 2)


async def test_a_token_is_not_at_hand_any_more_once_a_newer_version_of_its_credentials_is_seen() -> None:
    parts = Parts()
    assert parts.session.at_hand() is None
    first = await parts.token()
    assert parts.session.at_hand() is first
    parts.source.rotate("new")
    parts.platform.password = "new"
    assert parts.session.at_hand() is None
    second = await parts.token()
    assert parts.session.at_hand() is second


async def test_the_version_that_was_read_is_no_news_when_it_is_seen() -> None:
    parts = Parts()
    first = await parts.token()
    parts.source.seen = 1
    assert await parts.token() is first


async def test_versions_are_looked_for_while_the_token_is_good() -> None:
    parts = Parts()
    first = await parts.token()
    await parts.token()
    assert parts.source.followed_until == first.expires_at


async def test_a_new_version_that_the_platform_does_not_take_yet_leaves_the_token_at_hand() -> None:
    parts = Parts()
    first = await parts.token()
    parts.source.rotate("new")
    assert [await parts.token() is first for _ in range(20)] == [True] * 20
    assert parts.platform.asked == ["old", "new"]
    parts.platform.password = "new"
    assert await parts.replace(first) is not first
    assert parts.platform.asked == ["old", "new", "new"]


async def test_a_new_version_that_can_not_be_read_just_now_is_read_with_the_next_refresh() -> None:
    parts = Parts()
    await parts.token()
    parts.source.rotate("new")
    parts.source.failure = CredentialsUnavailable("sealed")
    second = await parts.token()
    assert await parts.token() is second
    assert parts.platform.asked == ["old", "old"]
    parts.source.failure, parts.platform.password = None, "new"
    await parts.to_the_end_of(second, share=0.9)
    await parts.token()
    assert parts.platform.asked == ["old", "old", "new"]


async def test_credentials_that_are_gone_when_a_401_has_them_read_again_are_not_used_any_more() -> None:
    parts = Parts()
    first = await parts.token()
    parts.source.failure = CredentialsMissing("deleted")
    with pytest.raises(CredentialsMissing):
        await parts.replace(first)
    assert parts.platform.asked == ["old"]


@pytest.mark.parametrize("failure", [CredentialsMissing("nothing there"), CredentialsUnavailable("sealed")])
async def test_credentials_that_can_not_be_had_are_told_as_what_they_are(failure: AdsyncdError) -> None:
    parts = Parts()
    parts.source.failure = failure
    assert await outcomes(parts, 4, apart_s=0.1) == [failure] * 4
    assert (parts.source.reads, parts.sign_ins) == (1, 0)


async def test_a_vault_that_is_down_keeps_nobody_from_signing_in_with_what_was_read() -> None:
    parts = Parts()
    first = await parts.token()
    parts.source.failure = CredentialsUnavailable("sealed")
    assert await parts.replace(first) is not first


async def test_a_clock_far_ahead_means_a_new_token_and_nothing_worse() -> None:
    parts = Parts()
    first = await parts.token()
    parts.clock.ahead_s = 1e9
    assert (parts.session.expires_in() or 0) < 0
    second = await parts.token()
    assert second is not first
    assert await parts.token() is second
    assert parts.sign_ins == 2


async def test_a_mistake_of_ours_in_a_sign_in_is_not_taken_for_a_failure_of_the_platform_and_blocks_nobody() -> None:
    parts = Parts()

    async def broken(_: Credentials) -> tuple[SecretStr, float]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await parts.session.token(broken)
    assert await parts.token()


async def test_the_time_to_a_token_s_end_is_known_while_there_is_one() -> None:
    parts = Parts()
    assert parts.session.expires_in() is None
    await parts.token()
    await anyio.sleep(99)
    assert parts.session.expires_in() == pytest.approx(LIFE_S - 100)


# A 401 that a new token does not help against


async def in_doubt(parts: Parts) -> Token:
    """Return a token that came after a 401 and was refused to the same request, too."""
    token = await parts.replace(await parts.token())
    parts.session.refuse_anew(token)
    return token


async def test_soon_after_a_refresh_in_vain_a_token_is_kept_that_is_good_for_others_requests() -> None:
    parts = Parts()
    token = await in_doubt(parts)
    assert parts.session.refuse(token, None) is Refusal.IN_DOUBT
    refused_at = anyio.current_time()
    await anyio.sleep(1)
    parts.session.accept(token, sent_at=anyio.current_time())
    assert parts.session.refuse(token, refused_at) is Refusal.OF_REQUEST
    assert await parts.token() is token


@pytest.mark.parametrize("sent_s_before", [None, 0.0, 5.0])
async def test_soon_after_a_refresh_in_vain_a_token_is_replaced_if_no_later_request_is_taken_with_it(
    sent_s_before: float | None,
) -> None:
    parts = Parts()
    token = await in_doubt(parts)
    await anyio.sleep(10)
    assert parts.session.refuse(token, None) is Refusal.IN_DOUBT
    refused_at = anyio.current_time()
    if sent_s_before is not None:  # it was under way then, and says nothing of what came after
        parts.session.accept(token, sent_at=refused_at - sent_s_before)
    assert parts.session.refuse(token, refused_at) is Refusal.OF_TOKEN
    assert parts.session.at_hand() is None


async def test_however_many_refreshes_are_in_vain_there_are_few_in_a_minute_and_then_some_again() -> None:
    parts = Parts()
    token = await parts.token()
    refreshed = []
    while anyio.current_time() < 3600:
        await anyio.sleep(1)
        if parts.session.refuse(token, anyio.current_time()) is Refusal.OF_TOKEN:
            token = await parts.token()
            parts.session.refuse_anew(token)
            parts.session.refuse_anew(token)  # to another request, too
            refreshed.append(anyio.current_time())
    assert len([at for at in refreshed if at < 60]) == 3
    assert 60 < len(refreshed) <= 180


async def test_a_401_a_while_after_a_refresh_in_vain_means_the_token_again() -> None:
    parts = Parts()
    token = await in_doubt(parts)
    await anyio.sleep(61)
    parts.session.accept(token, anyio.current_time())
    assert parts.session.refuse(token, None) is Refusal.OF_TOKEN


async def test_what_befalls_a_token_that_is_not_at_hand_any_more_says_nothing_of_the_one_that_is() -> None:
    parts = Parts()
    first = await parts.token()
    second = await parts.replace(first)
    parts.session.accept(first, anyio.current_time())
    parts.session.refuse_anew(first)
    assert parts.session.refuse(first, 0.0) is Refusal.OF_TOKEN
    assert parts.session.at_hand() is second
    assert parts.session.refuse(second, None) is Refusal.OF_TOKEN


# A token without a known end


async def test_a_token_without_a_known_end_is_used_until_a_401() -> None:
    parts = Parts()
    parts.platform.life_s = math.inf
    first = await parts.token()
    assert parts.session.expires_in() is None
    await anyio.sleep(80_000)
    assert await parts.token() is first
    assert parts.source.followed_until < anyio.current_time() + 90_000
    second = await parts.replace(first)
    assert (await parts.token() is second, parts.sign_ins) == (True, 2)


async def test_a_token_without_a_known_end_is_replaced_when_its_credentials_are_though_that_fails_at_first() -> None:
    parts = Parts()
    parts.platform.life_s = math.inf
    first = await parts.token()
    parts.source.rotate("new")
    assert await parts.token() is first  # the platform does not take the new password yet
    parts.platform.password = "new"
    await anyio.sleep(1000)
    assert await parts.token() is not first


@pytest.mark.parametrize("life_s", [0.001, 0.5])
async def test_a_token_that_lives_shorter_than_its_sign_in_takes_is_good_for_a_moment(life_s: float) -> None:
    parts = Parts()
    parts.platform.life_s = life_s
    token = await parts.token()
    assert parts.session.at_hand() is token
    await anyio.sleep(1)
    assert parts.session.at_hand() is None


async def test_a_failed_refresh_shows_in_its_span_and_no_secret_shows_anywhere() -> None:
    parts = Parts()
    first = await parts.token()
    parts.platform.failure = Unavailable("down")
    with pytest.raises(Unavailable):
        await parts.replace(first)
    ended = parts.spans.get_finished_spans()
    assert [(span.name, span.status.status_code) for span in ended] == [
        ("token.refresh", StatusCode.UNSET),
        ("token.refresh", StatusCode.ERROR),
    ]
    shown = repr(first) + repr(parts.session) + "".join(span.to_json() for span in ended)
    assert "token-1" not in shown
    assert "old" not in shown
