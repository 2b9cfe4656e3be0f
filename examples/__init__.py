"""One script, one problem: each solves it and checks the answer."""
