"""The checks that are built in, a module each, and those of the kinds that files define."""
