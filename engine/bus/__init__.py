"""MQTT, the engine's only interface: topics, messages, clients, request server and embedded broker.

Not here: the content of messages (``telemetry``) and the effect of requests (``ndis``).
"""
