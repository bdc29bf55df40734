"""Retention: what is in a repository, what goes, and the going.

`core/repository/retention.py` decides, from facts alone; here the facts are gathered and the decisions carried out.
"""
