"""Names of the folders and lists of a report."""

from __future__ import annotations

#: Folders in the report that hold pictures or state, and are never counted themselves.
ANNOTATED, CELLS, JOURNAL, MAPS = "annotated", "cells", "journal", "maps"


#: The journal's list of the contact sheets.
SHEETS = "sheets"


#: The journal's list of the fields of the folder, when a run last looked.
FIELDS = "fields"
