"""Review a report in the browser: a person has the last word."""
