"""No text says "1 requests": numbers get their nouns from `adsyncd.model.status.counted`."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "daemon" / "adsyncd"
_NOUNS = (
    "alerts attempts bytes campaigns characters days failures files hours intervals jobs letters minutes names "
    "pages permits problems pushes reasons records requests retries rows runs seconds tenants ticks times tokens"
)
_PLURAL = re.compile(rf"^ (?:[a-z]+ )?(?:{'|'.join(_NOUNS.split())})\b")
_NEVER_ONE = {  # file and number -> why it is never 1, or where 1 has a text of its own
    ("alerts/rules.py", "latest[0]"): "it has grown several times",
    ("alerts/rules.py", "latest.listed"): "a sample is larger",
    ("alerts/rules.py", "_intervals(tenant)"): "one more than the failures, of which there is one",
    ("alerts/rules.py", "failed"): "one has a text of its own",
    ("cli/profile_view.py", "listing.cost"): "it is shown if it is more than 1",
    ("cli/profile_view.py", "request.expires_in"): "the path of a value, not a number",
    ("cli/output.py", "len(runs)"): "one has a text of its own",
    ("config/tenant_file.py", "cost"): "it is more than a window allows",
    ("control/commands.py", "len(tenants)"): "there are more than a thousand",
    ("control/page/run.py", "len(reasons)"): "one has a text of its own",
    ("control/page/tenants.py", "number(total)"): "one has a text of its own",
    ("demo/report.py", "command"): "a verb follows",
    ("rate/gate.py", "waiter.cost"): "it is more than a window allows",
    ("runs/lateness.py", "max(each) + 1"): "each skips one at least",
    ("runs/lateness.py", "run.requests"): "most of several requests",
    ("runs/lateness.py", "times"): "small numbers are words",
    ("runs/lateness.py", "total + len(skipping)"): "there are two at least",
    ("runs/plan.py", "math.ceil(10 * share) / 10"): "it is told if it is more than 1",
    ("runs/verdict.py", "len(failed)"): "one has a text of its own",
    ("runs/verdict.py", "tenant_id"): "a verb follows",
    ("simulation/invariants.py", "times"): "it is told if it is more than 1",
}


def plurals(source: str) -> Iterator[str]:
    """Yield each number in an f-string that a plural follows, as an expression. A constant is known."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            for value, following in pairwise(node.values):
                if not isinstance(value, ast.FormattedValue) or not isinstance(following, ast.Constant):
                    continue
                number = ast.unparse(value.value)
                if (
                    not number.lstrip("_").isupper()
                    and not number.startswith("counted(")
                    and _PLURAL.match(str(following.value))
                ):
                    yield number


def found() -> set[tuple[str, str]]:
    return {
        (str(path.relative_to(PROGRAM)), number)
        for path in PROGRAM.rglob("*.py")
        for number in plurals(path.read_text(encoding="utf-8"))
    }


def test_a_number_gets_its_noun_from_counted() -> None:
    assert found() - _NEVER_ONE.keys() == set(), "write counted(number, 'request'), or say why it is never 1"


def test_no_exception_outlives_its_text() -> None:
    assert _NEVER_ONE.keys() - found() == set()


@pytest.mark.parametrize(
    ("source", "numbers"),
    [
        ("f'{n} requests'", ["n"]),
        ("f'{a} of {len(b)} campaigns were pushed'", ["len(b)"]),
        ("f'{n} more problems'", ["n"]),
        ("f'{_MOST} bytes'", []),
        ("f'{order} starts'", []),
        ("f'{counted(n, 1)} in files'", []),
    ],
)
def test_it_sees_them(source: str, numbers: list[str]) -> None:
    assert list(plurals(source)) == numbers
