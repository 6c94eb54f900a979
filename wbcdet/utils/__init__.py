"""Small parts that know nothing of blood cells."""
