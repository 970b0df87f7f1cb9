"""The trusted side of a site's part in a session.

`seat.py` is what the worker has while it attends: policy → ledger → egress → journal. What may be said
is in `egress.py`, what is kept of it in `outcomes.py`.
"""
