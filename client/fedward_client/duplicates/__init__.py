"""A site's part in a study of duplicates: its documents, and which of them are nearly another site's."""
