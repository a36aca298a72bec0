"""MQTT, the only way in and out: topics, messages, clients, request server, embedded broker.

Not here: what the messages say (``telemetry``) or what a request does (``ndis``).
"""
