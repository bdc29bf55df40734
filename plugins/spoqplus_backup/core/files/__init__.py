"""File components: archives of GNU tar, cut into parts, with an index of what lies where."""
