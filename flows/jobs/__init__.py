"""What a schedule runs, as plain functions that return a report."""
