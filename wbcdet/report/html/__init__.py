"""The page of a count: a sheet to sign for every slide, and the cells to look at."""
