"""From a field to its cells: detect, crop, classify."""
