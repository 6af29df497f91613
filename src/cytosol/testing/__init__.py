"""Test an app, a save state or a transport of your own: a simulated world of real devices.

Nothing here is imported by Cytosol itself. `World` needs nothing but Cytosol;
`cytosol.testing.strategies` needs Hypothesis, and the pytest fixture `cytosol_world` needs pytest:
both come with `pip install 'cytosol[testing]'`.
"""

from cytosol.testing.clock import VirtualClock
from cytosol.testing.device import Backup, Device
from cytosol.testing.disk import PowerCut, VirtualDisk, VirtualSaveState
from cytosol.testing.invariants import check_equal
from cytosol.testing.ledger import Ledger, Write
from cytosol.testing.network import Conditions, VirtualNetwork
from cytosol.testing.world import World

__all__ = [
    "Backup",
    "Conditions",
    "Device",
    "Ledger",
    "PowerCut",
    "VirtualClock",
    "VirtualDisk",
    "VirtualNetwork",
    "VirtualSaveState",
    "World",
    "Write",
    "check_equal",
]
