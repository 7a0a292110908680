import pytest

from adsyncd.simulation.simulation import Simulator


@pytest.fixture(scope="session")
def simulator() -> Simulator:
    return Simulator()
