"""The store: runs, pushes, campaigns and dead letters in a database, so that nothing is lost or done twice."""

from typing import TYPE_CHECKING

from adsyncd import lazily

if TYPE_CHECKING:
    from adsyncd.store.reader import Reader, open_reader
    from adsyncd.store.store import Store, open_store

__all__ = ["Reader", "Store", "open_reader", "open_store"]

__getattr__ = lazily(
    __name__,
    {
        "Reader": "reader",
        "Store": "store",
        "open_reader": "reader",
        "open_store": "store",
    },
)
