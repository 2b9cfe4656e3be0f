"""How a sequence of related systems is solved the cheapest: candidates, races between them, orders."""
