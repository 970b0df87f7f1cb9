"""Tasks of one study kind each: data, charter, rows of the comparison table."""
