"""Texts and what people have marked in them: entities, their attributes, and relations between them.

All offsets are of Unicode code points, `end` is the first that no longer belongs to an entity.
"""
