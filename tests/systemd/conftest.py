"""One booted machine for all tests, on which `make install` has been done; each test has a service that is new."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import Machine, booted
from support.service import CHECKOUT, Service, build, make


@pytest.fixture(scope="session")
def checkout() -> Path:
    build()
    return CHECKOUT


@pytest.fixture(scope="session")
def machine(checkout: Path) -> Iterator[Machine]:
    with booted(checkout) as machine:
        machine.run(*make("install"))
        yield machine


@pytest.fixture
def service(machine: Machine) -> Service:
    service = Service(machine)
    service.reset()
    return service
