"""Fault campaigns: studies that are struck, at named points, by what an operation list says."""
