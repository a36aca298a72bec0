"""An embedded MQTT 3.1.1 broker: QoS 0 and 1, clean sessions, retained messages, wills, TLS, resource limits.

Not here: the meaning of topics and the rights of clients, which come from an ``access.AccessControl``.
"""
