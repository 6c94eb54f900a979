"""What shows a stream while it runs."""
