"""Input: find, download, decode and read fields."""
