"""Studies whose sites hold different columns of the same people, as their coordinator drafts them."""
