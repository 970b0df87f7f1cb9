"""Which records two parties have in common, without showing the others.

After Meadows 1986, and Huberman, Franklin and Hogg 1999.

Each party has a secret number for the session. An identifier is hashed to a point and multiplied by both
numbers, in either order, so that equal ones meet at equal points; who knows one number alone cannot tell
whose points they are.
"""

POINT_BYTES = 32
PLACE_BYTES = 4
"""What a point and a place in the common order take in a message."""
