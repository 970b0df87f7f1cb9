"""Texts of a site before they become a dataset: what is done to them where they lie."""
