"""The program from outside: its commands, documents and messages, held against the contract.

Nothing here imports the engine or the dashboard; what is right is worked out by oracles of our own.
"""
