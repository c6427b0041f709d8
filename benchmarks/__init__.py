"""Speed and memory beside yardsticks that run in the same process on the same bytes or rows."""
