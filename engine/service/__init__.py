"""Wires the packages of ``engine`` together: a machine, its live loop, a replay, and the asyncio engine.

This package may import all the others; none of them imports it.
"""
