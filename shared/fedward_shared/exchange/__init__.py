"""What two parties say to each other through a coordinator that relays it and reads none of it.

`envelopes.py` seals, `channel.py` numbers what is sealed, so that nothing is lost or taken twice, and
`hops.py` is what goes between a party and the relay. `line.py` is what a party's program sees of it all.
"""
