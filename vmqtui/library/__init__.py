"""Example scenarios: each shows one problem that a rule of the advisor finds and its fix solves.

Here: the scenario files, each with its lesson, and their list. Not here: the rules (``engine.advice``).
"""
