"""Trial functions: geometry, what makes conditions exact, and how functions are evaluated and integrated."""
