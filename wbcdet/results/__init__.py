"""Results as documents, tables and annotated pictures."""
