"""Inference: from a field to its cells; detect, crop, classify."""
