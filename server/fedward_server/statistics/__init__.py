"""Statistics that a consortium's sites answer with, as their coordinator asks for and publishes them."""
