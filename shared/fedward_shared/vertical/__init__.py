"""What parties train together on different columns of the same records (vertical partitioning)."""
