"""From a frame to sealed rows: books, gaps, health, segments; live or replayed, the same way."""
