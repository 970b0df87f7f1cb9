"""The records that scenarios train on: real or synthetic, from installed packages."""
