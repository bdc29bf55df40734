"""The archive of binary logs: rotate, list_logs, fetch, compress, encrypt, upload, verify, and what follows from them.

Every stage is `(settings, connections) -> ArchiveSummary`, works on one staging area that all runs share, under one
lock for each site, and goes on where another run stopped.
"""
