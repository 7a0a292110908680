"""The demo: the daemon with all its surroundings on one machine."""
