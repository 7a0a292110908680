"""The store: runs, pushes, campaigns and dead letters in a database, so that nothing is lost or done twice."""

from adsyncd.store.reader import Reader, open_reader
from adsyncd.store.store import Store, open_store

__all__ = ["Reader", "Store", "open_reader", "open_store"]
