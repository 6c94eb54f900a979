"""General helpers without knowledge of blood cells."""
