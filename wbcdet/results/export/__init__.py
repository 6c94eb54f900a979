"""Export results to the formats of other programs, one writer each."""
