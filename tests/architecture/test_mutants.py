from mutate import mutants

LEAST = 100


def test_each_mutant_changes_one_place_of_the_program_as_it_is() -> None:
    stale = [(mutant.file, mutant.old) for mutant in mutants() if mutant.is_stale()]
    assert not stale, "change tests/mutants.jsonl with the program, and run `make mutants`"


def test_there_are_many_and_each_says_what_it_would_break() -> None:
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in mutants()}) == len(mutants()) >= LEAST
    assert all(mutant.why for mutant in mutants())
