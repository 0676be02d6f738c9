"""The contract, asked of each serving mode through nginx. docs/grid.md is what this run finds."""
