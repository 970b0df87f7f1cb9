"""The process boundary at a site: the worker's calls over a Unix socket, to the trusted side."""
