"""The replicated document: actions in, ops out, and a fold that every peer agrees on.

The rules are on the page docs/merging.md; tests/oracle has them a second time, plainly.
"""
