"""adsyncd keeps the ad campaigns of many tenants in step with a metered platform."""

__version__ = "0.1.0"
