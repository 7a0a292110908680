import sys
from types import ModuleType

import pytest

from adsyncd import lazily


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package of one name, whose module is not imported yet."""
    module = ModuleType("lazily_made")
    module.__path__ = []
    module.__getattr__ = lazily("lazily_made", {"answer": "depth"})  # type: ignore[method-assign]  # PEP 562
    monkeypatch.setitem(sys.modules, "lazily_made", module)
    return module


def test_a_name_comes_from_its_module_and_stays(package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    depth = ModuleType("lazily_made.depth")
    depth.answer = 42  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lazily_made.depth", depth)
    assert "answer" not in vars(package)
    assert package.answer == 42
    assert vars(package)["answer"] == 42


def test_an_unknown_name_is_an_attribute_error(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'lazily_made' has no attribute 'question'"):
        _ = package.question
    assert not hasattr(package, "question")
