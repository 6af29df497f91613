"""Sockets, one background thread and its clock: obeys what the protocol's machines ask for."""
