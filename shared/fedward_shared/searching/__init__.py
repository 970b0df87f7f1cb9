"""The search for settings: trials in a folder, chosen adaptively or the best of a random number."""
