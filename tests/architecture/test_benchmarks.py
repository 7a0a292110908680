import pytest

from benchmarks.governor import CELLS, DRAWING, TABLE, kept, table

SERVERS = ("sliding-log", "fixed-window", "token-bucket", "window-counter")


def test_the_table_of_limiters_is_what_the_results_say() -> None:
    assert TABLE.read_text() == table(kept())
    assert DRAWING.exists()


def test_each_limiter_met_each_server_at_each_round_trip() -> None:
    cells = kept()
    assert CELLS.name == "governor.json"
    met = {(cell.limiter, cell.server, cell.round_trip_s) for cell in cells}
    limiters, round_trips = ({getattr(cell, name) for cell in cells} for name in ("limiter", "round_trip_s"))
    assert len(met) == len(cells) == len(limiters) * len(round_trips) * len(SERVERS)
    assert {"adsyncd", "aiolimiter", "pyrate-limiter", "throttled-py, GCRA", "httpx-limiter"} < limiters
    assert {0.02, 0.3, 2.0} < round_trips


def test_what_was_used_is_the_ideal_time_s_share() -> None:
    for cell in kept():
        assert cell.used == pytest.approx(cell.ideal_s / cell.seconds, abs=0.001)
        assert (cell.window_s, cell.ideal_s) == (60, 109 * 60 + cell.round_trip_s)
