"""Where runs, pushes, campaigns and dead letters are kept, so that nothing is lost and nothing is done twice."""

from adsyncd.store.reader import Reader, open_reader
from adsyncd.store.store import Store, open_store

__all__ = ["Reader", "Store", "open_reader", "open_store"]
