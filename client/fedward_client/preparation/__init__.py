"""From a site's files to a dataset, without anything that leaves the site."""
