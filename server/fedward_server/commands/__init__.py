"""`fedward coordinator`, one file for each group of commands."""
