"""The grid: behaviours × combinations of choices, through nginx. Writes docs/grid.md."""
