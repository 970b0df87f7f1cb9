"""The exchange at the coordinator: parties of a session talk through it, and it reads none of it.

`sessions.py` has who may talk, `relay.py` decides, `service.py` is the server around it.
"""
