"""Alerts: when a tenant deserves a human's attention, and how that human hears of it.

`rules` decides, `watch` knows which alerts fire, `courier` brings them to `receivers`.
"""

from adsyncd.alerts.receivers import Alertmanager, Receiver, Webhook
from adsyncd.alerts.watch import Watch

__all__ = ["Alertmanager", "Receiver", "Watch", "Webhook"]
