"""From the ward's files to documents: what is read where, and what is quarantined why."""
