"""Paths: JSONPath (RFC 9535) with Cytosol's extensions, parsed, bound and evaluated."""

from cytosol.path.query import Path, Query, Target, Variables, parse_path
from cytosol.path.singular import singular_steps

__all__ = ["Path", "Query", "Target", "Variables", "parse_path", "singular_steps"]
