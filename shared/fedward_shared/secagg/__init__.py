"""Secure aggregation: the coordinator gets the sum of the sites' updates, and no update of one site.

SecAgg+ (Bonawitz et al. 2017; Bell et al. 2020) as state machines without I/O. A site's half is
`party.py`, the coordinator's `aggregator.py`; docs/explanation/secure-aggregation.md says what it
protects against and what not.
"""
