"""Workloads that compare Cytosol with its live peers; `python -m benchmarks` runs them.

What each row measures, and what every library does and leaves out: docs/benchmarks.md.
"""
