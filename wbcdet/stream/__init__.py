"""A microscope camera watched live, each white cell counted once."""
