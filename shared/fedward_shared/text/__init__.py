"""Texts of a site before they are a dataset: which are near-duplicates, and how sound each is."""
