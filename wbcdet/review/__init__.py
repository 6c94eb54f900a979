"""Review a report in the browser: people confirm or correct every cell."""
