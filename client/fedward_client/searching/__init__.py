"""A site's own search for settings of a charter: on its own records, at its own cost."""
