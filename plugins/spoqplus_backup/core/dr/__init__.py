"""Disaster recovery: the replica, DNS, Terraform, the fence around the old primary, and what may be rehearsed of it."""
