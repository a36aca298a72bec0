"""Real hosts: a Linux machine's adapters, files from Windows hosts, and the scenario that each gives.

Every source ends as the messages that an engine publishes (configuration, stats, events): None is what is not
known, and ``sources`` says how each column is known, so that whatever reads an engine reads a real host.
"""
