"""The front door: the only package that knows both the data side and the network side."""

from cytosol.database.database import Database, Listener, TransactionContext, open

__all__ = ["Database", "Listener", "TransactionContext", "open"]
