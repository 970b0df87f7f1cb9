"""Benchmarks beside their peers, one file each; `python -m fedward_simulations.bench NAME` runs one."""
