"""The machine and the service manager: readiness, ownership, the event loop, what is lacking."""
