"""A real engine, broker and dashboards under traffic, requests and faults: ``python -m tests.soak``.

What an engine promises is checked from its messages alone; how single parts fail is other tests' business.
"""
