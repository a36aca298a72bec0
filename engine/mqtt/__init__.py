"""The embedded broker: MQTT 3.1.1, QoS 0 and 1, clean sessions, retained messages, wills, TLS, bounds.

Not here: what the topics mean or who may use them; an ``access.AccessControl`` that it is given knows that.
"""
