"""The embedded broker: MQTT 3.1.1, QoS 0 and 1, clean sessions, retained messages, wills, TLS, bounds.

Not here: the meaning of topics, and the rights of clients; those come from an ``access.AccessControl``.
"""
