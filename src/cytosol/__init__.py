"""An embedded, local-first JSON database whose devices find each other and keep in sync.

```python
import cytosol

db = cytosol.open("notes.cytosol", app_id="82feacaf-3ae0-41c2-9aff-dd7dcb0a2a80")
db.dispatch(cytosol.Set("$.title", "Shopping"))
print(db.query_once("$.title"))
```
"""

from __future__ import annotations

from cytosol._version import __version__
from cytosol.crdt.actions import (
    Add,
    Copy,
    Delete,
    InitArray,
    InitObject,
    InsertAfter,
    InsertBefore,
    InsertUnique,
    Move,
    Multiply,
    Set,
    Transaction,
)
from cytosol.database import Database, Listener, TransactionContext, open
from cytosol.database.diagnosis import Diagnosis, Finding
from cytosol.database.network_actions import (
    AcceptPair,
    RejectPair,
    RequestPair,
    SetSyncEnabled,
    SetVisibleToPeers,
    Unpair,
    new_pairing_code,
)
from cytosol.database.sealing import SealedSaveState, rekey, seal, unseal
from cytosol.document.checkreport import CheckOutcome, CheckReport, CheckSection
from cytosol.document.events import CallbackError, HistoryAdopted, IdentityRenewed
from cytosol.document.subscriptions import Subscription
from cytosol.errors import (
    ActionError,
    ConfigError,
    CytosolError,
    DatabaseClosedError,
    DatabaseCorruptError,
    DatabaseError,
    DatabaseLockedError,
    FailureError,
    GraphError,
    LocalProtocolError,
    MissingVariableError,
    NetworkError,
    NetworkUnavailableError,
    PairingError,
    PathLimitError,
    PathSyntaxError,
    PeerTimeoutError,
    PermissionDeniedError,
    ProtocolError,
    RemoteProtocolError,
    SaveError,
    SealError,
)
from cytosol.graph import Graph
from cytosol.protocol.events import (
    PairCancelled,
    PairRequest,
    PairResponse,
    PeerConnected,
    PeerDisconnected,
    SyncDone,
    SyncFailed,
    SyncProgress,
    Unpaired,
)
from cytosol.savestates import (
    InMemorySaveState,
    JsonFileSaveState,
    SaveState,
    SqliteSaveState,
)
from cytosol.savestates.oskeyring import KeyringKey
from cytosol.savestates.sealkeys import SealCost

__all__ = [  # noqa: RUF022  # grouped by concept, for people
    "__version__",
    # the front door
    "open",
    "Database",
    "TransactionContext",
    "Subscription",
    "Listener",
    "Graph",
    "Diagnosis",
    "Finding",
    # data actions, as in the seed
    "Set",
    "Delete",
    "InitObject",
    "InitArray",
    "InsertBefore",
    "InsertAfter",
    "InsertUnique",
    "Add",
    "Multiply",
    "Move",
    "Copy",
    "Transaction",
    # network actions
    "RequestPair",
    "AcceptPair",
    "RejectPair",
    "Unpair",
    "SetVisibleToPeers",
    "SetSyncEnabled",
    "new_pairing_code",
    # events
    "PairRequest",
    "PairResponse",
    "PairCancelled",
    "Unpaired",
    "PeerConnected",
    "PeerDisconnected",
    "SyncProgress",
    "SyncDone",
    "SyncFailed",
    "IdentityRenewed",
    "HistoryAdopted",
    "CallbackError",
    # save states
    "SaveState",
    "InMemorySaveState",
    "JsonFileSaveState",
    "SqliteSaveState",
    "SealedSaveState",
    "SealCost",
    "KeyringKey",
    "seal",
    "unseal",
    "rekey",
    # what a check has found
    "CheckReport",
    "CheckSection",
    "CheckOutcome",
    # errors
    "CytosolError",
    "ActionError",
    "PathSyntaxError",
    "MissingVariableError",
    "PathLimitError",
    "FailureError",
    "DatabaseError",
    "DatabaseLockedError",
    "DatabaseCorruptError",
    "DatabaseClosedError",
    "SaveError",
    "SealError",
    "NetworkError",
    "NetworkUnavailableError",
    "PairingError",
    "PeerTimeoutError",
    "ProtocolError",
    "LocalProtocolError",
    "RemoteProtocolError",
    "GraphError",
    "ConfigError",
    "PermissionDeniedError",
]
