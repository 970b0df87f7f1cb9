"""The base model that studies adapt: trained at the central site, from texts that it may use."""
