"""Networks between functions: for predictions, and for the maps of control problems."""
