"""adsyncd keeps the ad campaigns of many tenants in step with a metered platform."""

from collections.abc import Callable, Mapping
from importlib import import_module
from sys import modules

__version__ = "0.1.0"


def lazily(package: str, places: Mapping[str, str]) -> Callable[[str], object]:
    """Return `__getattr__` for a package (PEP 562) that imports its modules when their names are first used.

    `places`: each of its names, and the module that has it. A client of the daemon needs few of them.
    """

    def get(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{places[name]}"), name)
        setattr(modules[package], name, value)
        return value

    return get
