"""Studies that have sessions in the place of rounds, as their coordinator conducts them."""
