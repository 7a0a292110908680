from adsyncd.control.overview import Mark


def test_the_mark_of_half_an_hour_is_the_worst_of_its_marks() -> None:
    assert max(Mark.SUCCEEDED, Mark.PARTIAL, Mark.LATE) is Mark.PARTIAL
    assert sorted(Mark) == [Mark.NOTHING, Mark.SUCCEEDED, Mark.LATE, Mark.PARTIAL, Mark.FAILED]
