"""The privacy of a training: what is drawn, what is claimed, and what that costs."""
