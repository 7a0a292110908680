"""Tenants while the daemon runs: who is served, when, and what each is doing."""
