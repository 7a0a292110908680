from pathlib import Path

import pytest

from adsyncd.errors import ConfigError, Problem

PATH = Path("tenants.d/acme.toml")


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem(PATH, 3, "sync.timeout", "is 5", 'write "5s"'),
            'tenants.d/acme.toml:3: sync.timeout: is 5; write "5s"',
        ),
        (Problem(PATH, None, None, "is empty", ""), "tenants.d/acme.toml: is empty"),
        (Problem(None, None, "ADSYNCD_STORE__URL", "is empty", "unset it"), "ADSYNCD_STORE__URL: is empty; unset it"),
        (Problem(None, None, None, "is wrong", ""), "is wrong"),
    ],
)
def test_a_problem_names_what_is_known_of_its_place_what_is_wrong_and_the_fix(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_an_error_of_configuration_tells_all_problems() -> None:
    problems = [Problem(PATH, 1, "a", "is wrong", ""), Problem(PATH, 2, "b", "is wrong", "")]
    assert str(ConfigError(problems)) == "\n".join(map(str, problems))
