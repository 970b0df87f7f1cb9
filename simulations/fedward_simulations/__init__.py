"""Whole studies on one machine, with the code that is deployed."""
