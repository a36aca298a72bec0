"""Keeps pytest out of ``project``, whose tests run in a copy outside the checkout."""

collect_ignore = ["project"]
