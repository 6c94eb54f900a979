"""From what a user names to pixels: find, fetch, decode and read fields."""
