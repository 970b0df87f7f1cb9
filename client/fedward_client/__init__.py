"""What an institution installs and audits."""
