"""Brings files back: plan, fetch, extract beside the target, swap into place, owners, proof, and the way back."""
