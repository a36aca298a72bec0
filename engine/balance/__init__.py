"""The balancer: decides from readings alone which queues move between processors as load changes.

Not here: taking the readings and applying the moves (``engine.service.balancing``).
"""
