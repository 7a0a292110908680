"""Alerts: when a tenant needs a human's attention, and how the human is notified.

`rules` decides, `watch` keeps which alerts fire, `delivery` sends them to `receivers`.
"""

from adsyncd.alerts.receivers import Alertmanager, Receiver, Webhook
from adsyncd.alerts.watch import AlertWatch

__all__ = ["AlertWatch", "Alertmanager", "Receiver", "Webhook"]
