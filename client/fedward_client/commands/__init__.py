"""`fedward site`, one file for each group of commands."""
