"""The recovery test: proves that the backups restore, row for row, in time."""
