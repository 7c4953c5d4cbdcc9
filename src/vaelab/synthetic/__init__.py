"""Synthetic rows of a table: drawn by a model, and judged against real rows that it has not seen."""
