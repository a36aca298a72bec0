"""Where frames come from: capture files and synthetic mixes, written into a frame batch.

Not here: what happens to a frame after it has arrived.
"""
