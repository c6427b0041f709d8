"""Data in motion: venues, the collector, the jobs, and what wraps them."""
