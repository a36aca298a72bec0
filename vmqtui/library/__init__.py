"""Scenarios to learn from: each shows one thing that goes wrong, which a rule finds and its fix puts right.

Here: the scenario files, each with its lesson, and their list. Not here: the rules (``engine.advice``).
"""
