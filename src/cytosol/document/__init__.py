"""The document as one thing: written, queried, subscribed to, saved, and trimmed.

Synchronous and safe from any thread; knows nothing of the network.
"""
