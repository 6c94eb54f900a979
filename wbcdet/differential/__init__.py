"""The differential: counts to percentages with intervals."""
