"""Connections over the ways that messages can go; the only place of the graph with sockets."""
