"""How many examples of a property Hypothesis tries."""

from hypothesis import settings

USUAL = 50


def examples(usual: int) -> settings:
    """Try `usual` examples where most tests try `USUAL`, and in proportion where ADSYNCD_EXAMPLES asks for more."""
    return settings(max_examples=usual * settings().max_examples // USUAL)
