import sys

import pytest

from adsyncd.host.tcp_peer import owner, peer_uid

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the tables are those of such machines")

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ROW = "   {}: {} {} {} 00000000:00000000 00:00000000 00000000  {}        0 {} 1 0000000077cf7cee 20 4 30 10 -1\n"
SERVER, BROWSER = ("127.0.0.1", 8090), ("127.0.0.1", 40000)
S, B = "0100007F:1F9A", "0100007F:9C40"
MAPPED_S, MAPPED_B = f"0000000000000000FFFF0000{S}", f"0000000000000000FFFF0000{B}"


def table(*rows: tuple[str, str, str, int, int]) -> str:
    return HEAD + "".join(ROW.format(number, *row) for number, row in enumerate(rows))


def test_the_owner_is_that_of_the_other_end_and_not_of_ours() -> None:
    both = table((S, "00000000:0000", "0A", 0, 7), (S, B, "01", 1000, 8), (B, S, "01", 1001, 9))
    assert owner(both, BROWSER, SERVER) == 1001
    assert owner(both, SERVER, BROWSER) == 1000


def test_a_socket_for_ipv6_may_be_connected_to_an_ipv4_address() -> None:
    assert owner(table((MAPPED_B, MAPPED_S, "01", 1001, 9)), BROWSER, SERVER) == 1001


@pytest.mark.parametrize(
    "row",
    [
        (B, S, "06", 0, 0),  # TIME_WAIT: the kernel says root of each
        (B, S, "01", 0, 0),  # no process has it any more
        (B, S, "04", 1001, 9),
        (B, S, "0A", 1001, 9),
        (B, "0100007F:1F9B", "01", 1001, 9),
        ("0100007F:9C41", S, "01", 1001, 9),
        ("0200007F:9C40", S, "01", 1001, 9),
        (S, B, "01", 1001, 9),
    ],
)
def test_a_socket_that_is_not_the_other_end_or_is_going_says_nothing(row: tuple[str, str, str, int, int]) -> None:
    assert owner(table(row), BROWSER, SERVER) is None
    assert owner(table(row, (B, S, "01", 1001, 9)), BROWSER, SERVER) == 1001


def test_without_a_connection_there_is_nobody() -> None:
    assert owner(HEAD, BROWSER, SERVER) is None
    assert peer_uid(("192.0.2.1", 1), ("192.0.2.2", 2)) is None
