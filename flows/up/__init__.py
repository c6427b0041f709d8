"""`movers up`: every process of the project under one supervisor. Nothing here knows what the processes do inside."""
