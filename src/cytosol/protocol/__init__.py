"""The protocol as machines without sockets, clocks or threads: input in, effects out."""
