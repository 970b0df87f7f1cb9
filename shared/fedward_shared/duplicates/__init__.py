"""Which documents of a site are nearly another site's: what they agree on, and say to each other."""
