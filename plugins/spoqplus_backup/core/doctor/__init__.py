"""Looks at an installation before it is needed: is everything there, reachable and allowed, from this machine?"""
