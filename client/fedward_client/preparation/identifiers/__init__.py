"""Identifiers in free text: found by rules, and replaced. What stays is not anonymous."""
