"""One run of one tenant, one replay of its dead letters, and what decides about them."""
