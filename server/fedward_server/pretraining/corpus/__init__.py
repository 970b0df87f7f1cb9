"""From texts of many sources to a folder of tokens, and from that to the rows of each step."""
