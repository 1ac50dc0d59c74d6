"""Reads a complete range and verifies that no record is missing."""
