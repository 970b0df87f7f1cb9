"""Statistics of what the sites of a consortium hold, noised at each site, before a study is made."""
