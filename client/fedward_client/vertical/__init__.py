"""A party of a vertical study: what an institution does with its columns and identifiers."""
