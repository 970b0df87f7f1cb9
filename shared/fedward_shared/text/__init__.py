"""Texts of a site before they are a dataset: which are near-duplicates, and how sound each is."""

BANDS = 16
ROWS = 8
"""Into so many bands of so many numbers a signature is cut (`signatures.py`)."""
