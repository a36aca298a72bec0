"""The balancer: which queues move between processors as load changes, decided from readings and nothing else.

Not here: taking the readings and carrying the moves out (``engine.service.balancing``).
"""
