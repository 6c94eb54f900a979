"""Results in the formats of other programs: one small writer each."""
