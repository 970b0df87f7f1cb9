"""What two parties say to each other through a coordinator that relays it and reads none of it.

`envelopes.py` seals, `channel.py` numbers what is sealed, so that nothing is lost or taken twice.
"""
