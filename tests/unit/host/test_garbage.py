import gc

from adsyncd.host.garbage import seldom_collecting


def test_what_exists_is_left_alone_and_the_rest_visited_more_seldom_until_the_end() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    with seldom_collecting():
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() > before[0]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
