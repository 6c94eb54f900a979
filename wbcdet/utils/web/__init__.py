"""A page that a command serves: where it listens, and whom it answers."""
