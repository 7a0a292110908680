"""The machine and the service manager: readiness, ownership, the event loop, exhausted resources."""
