"""Analyse many fields: predict, count and resume."""
