"""Statistics at a site: the worker counts, the trusted side books, adds noise and signs (`telling`)."""
