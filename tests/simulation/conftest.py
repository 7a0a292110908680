import pytest

from adsyncd.simulation.network import MOCK_PLATFORM, load_factory
from adsyncd.simulation.simulation import Simulator


@pytest.fixture(scope="session")
def simulator() -> Simulator:
    return Simulator(load_factory(MOCK_PLATFORM))
