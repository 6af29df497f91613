"""What `import cytosol` offers, as one list: a name comes or goes on purpose only."""

from __future__ import annotations

import inspect

import cytosol

PUBLIC_NAMES = [
    "AcceptPair",
    "ActionError",
    "Add",
    "CallbackError",
    "CheckOutcome",
    "CheckReport",
    "CheckSection",
    "ConfigError",
    "Copy",
    "CytosolError",
    "Database",
    "DatabaseClosedError",
    "DatabaseCorruptError",
    "DatabaseError",
    "DatabaseLockedError",
    "Delete",
    "Diagnosis",
    "FailureError",
    "Finding",
    "Graph",
    "GraphError",
    "HistoryAdopted",
    "IdentityRenewed",
    "InMemorySaveState",
    "InitArray",
    "InitObject",
    "InsertAfter",
    "InsertBefore",
    "InsertUnique",
    "JsonFileSaveState",
    "KeyringKey",
    "Listener",
    "LocalProtocolError",
    "MissingVariableError",
    "Move",
    "Multiply",
    "NetworkError",
    "NetworkUnavailableError",
    "PairCancelled",
    "PairRequest",
    "PairResponse",
    "PairingError",
    "PathLimitError",
    "PathSyntaxError",
    "PeerConnected",
    "PeerDisconnected",
    "PeerTimeoutError",
    "PermissionDeniedError",
    "ProtocolError",
    "RejectPair",
    "RemoteProtocolError",
    "RequestPair",
    "SaveError",
    "SaveState",
    "SealCost",
    "SealError",
    "SealedSaveState",
    "Set",
    "SetSyncEnabled",
    "SetVisibleToPeers",
    "SqliteSaveState",
    "Subscription",
    "SyncDone",
    "SyncFailed",
    "SyncProgress",
    "Transaction",
    "TransactionContext",
    "Unpair",
    "Unpaired",
    "__version__",
    "new_pairing_code",
    "open",
    "rekey",
    "seal",
    "unseal",
]

DATABASE_NAMES = [
    "check",
    "close",
    "connections",
    "dismiss_failures",
    "dispatch",
    "doctor",
    "get",
    "graph",
    "on",
    "peer_id",
    "query_once",
    "query_once_meta",
    "state_hash",
    "subscribe",
    "subscribe_meta",
    "transaction",
    "wait_for_peer",
    "watch",
]

OPEN_PARAMETERS = [
    "save_state",
    "app_id",
    "peer_name",
    "min_history",
    "max_history",
    "visible_to_peers",
    "sync_enabled",
    "network",
    "trust_shared_peers",
    "loopback",
    "durability",
    "progress",
]


def test_the_package_offers_exactly_these_names() -> None:
    """A new public name is a promise, and one that goes breaks somebody's program."""
    assert sorted(cytosol.__all__) == PUBLIC_NAMES
    assert all(hasattr(cytosol, name) for name in PUBLIC_NAMES)


def test_nothing_else_lies_about_in_the_package() -> None:
    """What is not in `__all__` is a submodule, a name of the language, or private."""
    others = {
        name
        for name, value in vars(cytosol).items()
        if not name.startswith("_") and name not in PUBLIC_NAMES and not inspect.ismodule(value)
    }
    assert others <= {"annotations"}


def test_a_database_has_exactly_these_methods() -> None:
    """The front door has the size that the reference describes."""
    assert DATABASE_NAMES == sorted(
        name for name in vars(cytosol.Database) if not name.startswith("_")
    )


def test_open_takes_exactly_these_settings() -> None:
    """All but the save state are given by name, so that one more breaks nobody."""
    parameters = inspect.signature(cytosol.open).parameters
    assert list(parameters) == OPEN_PARAMETERS
    by_name = [name for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY]
    assert by_name == OPEN_PARAMETERS[1:]


def test_every_public_class_and_function_says_what_it_is_for() -> None:
    """`help()` is the first documentation that people see."""
    for name in PUBLIC_NAMES:
        if name != "__version__":
            assert inspect.getdoc(getattr(cytosol, name)), f"{name} has no docstring"


def test_typed_actions_cover_all_actions_of_the_format() -> None:
    """Whatever a message can say, a constructor can say, too."""
    from cytosol.crdt.actions import DATA_ACTIONS
    from cytosol.database.network_actions import NETWORK_ACTIONS

    names = {action.__name__ for action in (*DATA_ACTIONS, *NETWORK_ACTIONS)}
    assert len(names) == 18
    assert names <= set(PUBLIC_NAMES)
