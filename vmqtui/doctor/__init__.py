"""What ``vmqtui doctor`` looks at: each check is a function that gives findings and raises nothing expected.

How findings are printed is the command's matter, not theirs.
"""
