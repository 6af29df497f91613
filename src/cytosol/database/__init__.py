"""The front door: the only package that knows both the data side and the network side."""

from cytosol.database.database import Database
from cytosol.database.listeners import Listener
from cytosol.database.opening import open
from cytosol.database.transaction import TransactionContext

__all__ = ["Database", "Listener", "TransactionContext", "open"]
