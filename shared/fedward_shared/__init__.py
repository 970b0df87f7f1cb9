"""Shared by both sides of a study: the contract and nothing that touches a network."""
