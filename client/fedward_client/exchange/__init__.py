"""A site's end of the exchange with its peers, through a relay that reads none of it.

`journal.py` keeps what was said, `party.py` decides, `connection.py` has the connection, and `lines.py`
is what the program of a session calls.
"""
