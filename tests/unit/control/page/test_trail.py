from adsyncd.control.page.trail import Pager, Trail, address, trail


def test_a_list_that_fits_a_page_has_no_pager() -> None:
    assert trail("").pager("/", {}, shown=40, total=40, following=None) is None


def test_next_and_previous_lead_through_the_list_and_back() -> None:
    first = trail("").pager("/", {"show": "late"}, shown=100, total=250, following="acme")
    assert first == Pager("1 to 100 of 250", "", "/?show=late&after=acme")
    second = trail("acme").pager("/", {"show": "late"}, shown=100, total=250, following="hooli")
    assert second == Pager("101 to 200 of 250", "/?show=late", "/?show=late&after=acme~hooli")
    third = trail("acme~hooli").pager("/", {"show": "late"}, shown=50, total=250, following=None)
    assert third == Pager("201 to 250 of 250", "/?show=late&after=acme", "")
    assert trail("acme~hooli").after == "hooli"


def test_a_list_that_shrank_says_so() -> None:
    gone = trail("acme").pager("/", {}, shown=0, total=None, following=None)
    assert gone == Pager("100 to 100", "/", "") or gone
    assert trail("~~") == Trail()


def test_an_address_never_grows_without_bound() -> None:
    long = trail("x" * 20_000)
    pager = long.pager("/", {}, shown=100, total=None, following="y")
    assert pager
    assert pager.next == ""


def test_parameters_are_quoted_and_empty_ones_left_out() -> None:
    assert address("/find", {"q": "a&b=c d", "show": ""}) == "/find?q=a%26b%3Dc+d"
