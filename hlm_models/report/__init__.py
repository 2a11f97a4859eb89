"""Finished numbers to one page; no statistics are computed here."""
