"""Texts of a site, before they become records of a dataset."""
