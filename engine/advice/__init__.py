"""Diagnosis: problems of a host, the numbers that show them, and fixes. Pure: views in, findings out.

Not here: running the model again with a fix (``engine.service.trial``), or drawing findings (``vmqtui``).
"""
