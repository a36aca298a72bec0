"""The command line: parse arguments, print documents and tables, report errors as sentences.

Each command imports its dependencies when it runs. Not here: the dashboard.
"""
