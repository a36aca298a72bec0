"""The command line: arguments in, documents and tables out, sentences for what went wrong.

Each command imports what it needs when it runs. Not here: the dashboard.
"""
