"""Networks, and what is asked of them at points."""
