"""Count a folder: run, journal, resume, and the files of the report."""
